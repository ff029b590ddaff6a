"""Bills of clouds: AWS's Cost and Usage Report (both versions), Azure's cost exports and Google Cloud's billing export.

A row is a day or an hour of one meter, whose text names the model, the direction and the tier. AWS and Azure count a
quantity in blocks of tokens in some rows and in tokens in others, so their tokens are the money divided by the rate of
a block. Google's rows are in the currency of the billing account, with credits apart; its invoice days are those of Los
Angeles and its times UTC, and a day here is a UTC day.
"""

import json
import re

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.names import resolved
from tierlab.usage.columns import bands
from tierlab.usage.reader import TOKENS, Reader, children, picked, same
from tierlab.usage.sheet import mapped

_STOP = re.compile(
    r"\b(?:ga|short|long|text|audio|image|video|input|output|global|regional|batch|cached|caching|token|tokens|count|for"
    r"|predictions|thinking|non-thinking|priority|flex|standard|cache_read|cache_write\w*|on|usage)\b|[:,]| - "
)
_MODEL = re.compile(
    r"\b(?:gemini|gemma|claude|gpt|o\d|mistral|llama|deepseek|command|nova)[-\s\d.]"
)
_MODALITY = re.compile(r"\b(?:audio|image|video|grounding|search|storage|embedding)\b")


def bill_columns(sheet, tokens, bucket, quantity, money, currency):
    """Return the columns of a bill's rows: tokens with their money where the row is of tokens, else money alone.

    Parameters
    ----------
    sheet : Sheet
    tokens : ndarray of bool
        Rows of text tokens.
    bucket : ndarray of str
        The bucket that each row's text names.
    quantity, currency : str
        Names of columns.
    money : ndarray of float
    """
    amount = np.where(tokens, sheet.numbers(quantity), 0.0)
    sheet.whole(np.where(tokens & np.isnan(amount), 0.5, amount), quantity)
    sheet.money_only |= ~tokens
    dollars = sheet.only_usd(currency, where=~tokens)
    sheet.assume(
        tokens & ~dollars, "money in another currency than USD is left out, the tokens are kept"
    )
    usd = np.where(dollars, money, np.nan)
    columns = {f"{name}_tokens": np.where(bucket == name, amount, 0.0) for name in BUCKETS}
    return columns | {
        "requests": np.nan,
        "aggregate": True,
        "source": "billed",
        "billed_usd": np.where(tokens, usd, np.nan),
        "usd": np.where(tokens, np.nan, usd),
        "own_money": money,
        "own_currency": sheet.currencies(currency),
        "own_tokens": amount,
    }


def model_in(text):
    """Return the model that a description names, or None.

    Examples
    --------
    >>> model_in("Generate content input token count gemini 2.5 flash lite short input text")
    'gemini-2.5-flash-lite'
    """
    found = _MODEL.search(text.lower())
    if not found:
        return None
    named = text.lower()[found.start() :].rsplit("/", 1)[-1]
    name = _STOP.split(named, maxsplit=1)[0].strip()
    # An id may contain such words itself (gpt-image-1), so it is tried first.
    whole = resolved(named.split()[0]).model_id
    return whole or resolved(name).model_id or re.sub(r"\s+", "-", name)


def bucket_in(text):
    """Return the token bucket that a description names; None if it is not of text tokens (storage, search, pictures).

    "Cached input" is looked for before "input". If a text has both input and output, the first one counts: a real one
    reads "output token count gemini 2.5 flash short input text".

    Examples
    --------
    >>> bucket_in("Generate_content text cached input token count for gemini 3 pro short")
    'cache_read'
    """
    text = text.lower().replace("_", " ").replace("-", " ")
    if _MODALITY.search(text):
        return None
    if re.search(r"cache (?:write|creation)", text):
        return "cache_write_long" if re.search(r"\b1 ?h", text) else "cache_write_short"
    if re.search(r"cache|caching", text):
        return "cache_read"
    first = re.search(r"input|output", text)
    return first and {"input": "uncached_input", "output": "output"}[first[0]]


_google_rows = picked(
    {
        "service": ("service.description",),
        "sku": ("sku.description",),
        "start": ("usage_start_time",),
        "end": ("usage_end_time",),
        "project": ("project.id",),
        "region": ("location.location",),
        "amount": ("usage.amount",),
        "unit": ("usage.unit",),
    }
    | same("labels", "cost", "credits", "currency", "cost_type"),
    usage=("usage",),
    idle=("amount_in_pricing_units",),
)
_SERVICES = r"gemini api|vertex ai|generative language api|claude"
_TOKEN_UNITS = ("count", "tokens", "token")


def _google(sheet):
    sheet.raw["labels"] = [json.dumps(cell, sort_keys=True) for cell in sheet.raw["labels"]]
    sheet.raw["credit"] = [_credit(cell) for cell in sheet.raw["credits"]]
    service, sku = sheet.words("service"), sheet.words("sku")
    ours = (service + " " + sku).str.contains(_SERVICES)
    sheet.refuse(~ours, "a service that serves no models", "service")
    sheet.refuse(sheet.empty("cost"), "no cost")
    net = sheet.numbers("cost") + sheet.numbers("credit", 0.0)
    model, bucket = mapped(sku, model_in), mapped(sku, bucket_in)
    unit = sheet.words("unit")
    # Some SKUs count tokens under the unit "requests": no request is as cheap as a token.
    cheap = np.abs(sheet.numbers("cost")) <= 1e-3 * np.abs(sheet.numbers("amount"))
    counted = unit.isin(_TOKEN_UNITS) | (unit == "requests") & cheap
    tokens = counted.to_numpy(bool) & ~pd.isna(model) & ~pd.isna(bucket)
    tier = sku.str.extract(r"\b(priority|flex|provisioned)\b", expand=False)
    return bill_columns(sheet, tokens, bucket, "amount", net, "currency") | {
        "at": sheet.times("start", zone="UTC"),
        "model_id": sheet.resolved(model),
        "team": sheet.text("project"),
        "platform": np.where(service.str.contains("vertex|claude"), "vertex", "google"),
        "region": sheet.text("region"),
        "service_tier": tier.to_numpy(object),
        "batch": sku.str.contains(r"\bbatch\b").to_numpy(bool),
        "context_above": bands(sheet, "sku"),
        "line": pd.Series(sheet.text("sku"), dtype=object).fillna("").to_numpy(object),
        "key": sheet.identity("gcp", *sheet.raw.columns),
    }


def _credit(credits):
    """Return the sum of some credits, or a text that shows that the amount of one is not a number."""
    amounts = [item and item.get("amount") for item in children({"credits": credits}, "credits")]
    try:
        return sum(float(amount) for amount in amounts)
    except (TypeError, ValueError):
        return "no number"


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
    # A usage type may be written in one word ("CacheWrite1hInputTokenCount").
    spaced = text.map(lambda name: _CAMEL.sub("-", name))
    meter = spaced.str.replace("12h", "1h").to_numpy(object)
    bucket = np.where(usage.str.contains("token"), mapped(meter, bucket_in), None)
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
    """Return the token bucket that Azure's meter names, None if it is not of text tokens."""
    words = set(re.sub(r"batch(?=[io])", "batch ", meter.lower()).split())
    if _OTHER_TOKENS.search(meter.lower()) and not words & {"txt", "text"}:
        return None
    if words & _CACHED:
        return "cache_write_short" if words & _WRITTEN else "cache_read"
    return "output" if words & _OUT else "uncached_input" if words & _IN else None


def _bill(sheet, bucket, named):
    """Return the columns of a bill's rows, from the bucket of each and the texts that may name its model.

    If no text names the model of a row of tokens, its first text stands for the model and has no price.
    """
    found = [_named(texts) for texts in named]
    model = np.array([each.model_id or texts[0] for each, texts in zip(found, named, strict=True)])
    sizes = pd.Series(mapped(sheet.words("unit").to_numpy(object), _size)).astype(float)
    rate, cost = sheet.numbers("rate"), sheet.numbers("cost")
    used = sheet.words("line_type").isin(
        ("usage", "discountedusage", "savingsplancoveredusage", "")
    )
    tokens = ~pd.isna(bucket) & sizes.notna().to_numpy(bool) & used.to_numpy(bool)
    blocks = np.where(rate > 0, cost / np.where(rate > 0, rate, 1), sheet.numbers("amount"))
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
    """Return what is known of the first text that names a model or, if none does, of the first text."""
    found = [resolved(text) for text in texts]
    return next((each for each in found if each.model_id), found[0])


def _size(unit):
    """Return the tokens in a unit of measure ("1K tokens", "1M"), None if it is not one."""
    found = _BLOCK.fullmatch(unit)
    return found and float(found[1].replace(",", "") or 1) * _SIZES[found[2].lower()]


def _days(sheet):
    """Return days as ISO writes them. Azure's exports write the month or the day first, as the account's region does.

    A number above 12 shows for all rows which of the two is the day; if there is none, a note says what was assumed.
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
    Reader(
        "gcp_billing",
        (("sku.description", "usage_start_time", "cost"),),
        _google,
        _google_rows,
        provider="google",
        kind="usage",
    ),
)
