"""Google: usageMetadata of Gemini answers, and the Cloud billing export.

Gemini's prompt counter includes the cached tokens; thoughts stand beside the candidates and are output. The export
has a row per SKU, in the currency of the billing account, credits apart. Its invoice days are those of Los Angeles,
its times UTC: a day here is a UTC day.

Lines of a bill: which model and which token bucket a SKU's text speaks of.
"""

import json
import re

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.names import canonical
from tierlab.usage.formats.anthropic import bands
from tierlab.usage.reader import Reader, child, children
from tierlab.usage.sheet import buckets

_TIMES = ("logged_at", "timestamp", "time", "createTime", "create_time", "created_at")
_SERVICES = r"gemini api|vertex ai|generative language api|claude"
_TOKEN_UNITS = ("count", "tokens", "token")


def _metadata_rows(records):
    for line, record in records:
        usage = child(record, "usageMetadata") or child(record, "usage_metadata")
        usage = {name.replace("_", "").lower(): value for name, value in usage.items()}
        yield (
            line,
            {
                "time": next(
                    (record[name] for name in _TIMES if record.get(name) is not None), None
                ),
                "model": record.get(
                    "modelVersion", record.get("model_version", record.get("model"))
                ),
                "id": record.get("responseId", record.get("response_id")),
                "finish": next(
                    (c.get("finishReason") for c in children(record, "candidates") if c), None
                ),
                "prompt": usage.get("prompttokencount"),
                "cached": usage.get("cachedcontenttokencount"),
                "answer": usage.get("candidatestokencount"),
                "thoughts": usage.get("thoughtstokencount"),
                "tools": usage.get("tooluseprompttokencount"),
                "total": usage.get("totaltokencount"),
            },
        )


def _metadata(sheet):
    prompt, read = sheet.counts("prompt", missing=None), sheet.counts("cached")
    thoughts, answer = sheet.counts("thoughts"), sheet.counts("answer")
    whole = prompt + sheet.counts("tools")
    found = buckets(
        sheet,
        whole,
        read,
        0.0,
        0.0,
        answer,
        cache_inside=True,
        reasoning=thoughts,
        reasoning_inside=False,
    )
    return found | {
        "at": sheet.times("time"),
        "model_id": sheet.models("model"),
        "status": sheet.finished("finish"),
        "source": "recorded",
        "key": sheet.identity("gemini", "id"),
        "own_tokens": sheet.numbers("total"),
    }


def _export_rows(records):
    for line, record in records:
        usage = child(record, "usage")
        credits = children(record, "credits")
        yield (
            line,
            {
                "service": child(record, "service").get("description"),
                "sku": child(record, "sku").get("description"),
                "start": record.get("usage_start_time"),
                "end": record.get("usage_end_time"),
                "project": child(record, "project").get("id"),
                "region": child(record, "location").get("location"),
                "labels": json.dumps(record.get("labels"), sort_keys=True, default=str),
                "cost": record.get("cost"),
                "credit": _sum([credit.get("amount") if credit else None for credit in credits]),
                "currency": record.get("currency"),
                "cost_type": record.get("cost_type"),
                "amount": usage.get("amount"),
                "unit": usage.get("unit"),
            },
        )


def _sum(amounts):
    """The sum of some amounts, or the first that is no number, so that the row shows what is wrong with it."""
    wrong = [a for a in amounts if isinstance(a, bool) or not isinstance(a, (int, float, str))]
    try:
        return "no number" if wrong else sum(float(amount) for amount in amounts)
    except ValueError:
        return "no number"


def _export(sheet):
    sku = pd.Series(sheet.text("sku"), dtype=object).fillna("").astype("str")
    services = pd.Series(sheet.text("service"), dtype=object).fillna("").astype("str")
    ours = (services + " " + sku).str.lower().str.contains(_SERVICES)
    sheet.refuse(~ours, "a service that serves no models", "service")
    sheet.refuse(sheet.empty("cost"), "no cost")
    net = sheet.numbers("cost") + sheet.numbers("credit", 0.0)
    codes, texts = pd.factorize(sku)
    model = np.array([*(model_in(text) for text in texts), None], object)[codes]
    bucket = np.array([*(bucket_in(text) for text in texts), None], object)[codes]
    unit = pd.Series(sheet.text("unit"), dtype=object).isin(_TOKEN_UNITS).to_numpy(bool)
    tokens = unit & ~pd.isna(model) & ~pd.isna(bucket)
    found = bill_columns(sheet, tokens, bucket, "amount", net, "currency")
    return found | {
        "at": sheet.times("start", zone="UTC"),
        "model_id": model,
        "team": sheet.text("project"),
        "region": sheet.text("region"),
        "batch": sku.str.lower().str.contains(r"\bbatch\b").to_numpy(bool),
        "context_above": bands(sheet, "sku"),
        "provider": "google",
        "line": sku.to_numpy(object),
        "key": sheet.identity("gcp", *sheet.raw.columns),
    }


def bill_columns(sheet, tokens, bucket, quantity, money, currency):
    """The columns of a bill's rows: tokens in the bucket their text names, with the money beside; else money alone."""
    amount = np.where(tokens, sheet.numbers(quantity), 0.0)
    sheet.refuse(
        tokens & ~((amount >= 0) & (amount == np.floor(amount))), "not a count from 0 up", quantity
    )
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


READERS = (
    Reader(
        "gemini",
        (("usageMetadata.promptTokenCount",), ("usage_metadata.prompt_token_count",)),
        _metadata,
        _metadata_rows,
    ),
    Reader(
        "gcp_billing",
        (("sku.description", "usage_start_time", "cost"),),
        _export,
        _export_rows,
        provider="google",
        kind="usage",
    ),
)


_STOP = re.compile(
    r"\b(?:short|long|text|audio|image|video|input|output|global|regional|batch|cached|caching|token|tokens|count|for"
    r"|predictions|thinking|non-thinking|priority|flex|standard|cache_read|cache_write\w*|on|usage)\b|[:,]| - "
)
_MODEL = re.compile(
    r"\b(?:gemini|gemma|claude|gpt|o\d|mistral|llama|deepseek|command|nova)[-\s\d.]"
)
_MODALITY = re.compile(r"\b(?:audio|image|video|grounding|search|storage|embedding)\b")


def model_in(text):
    """The model that a description names, or None.

    Examples
    --------
    >>> model_in("Generate content input token count gemini 2.5 flash lite short input text")
    'gemini-2.5-flash-lite'
    """
    found = _MODEL.search(text.lower())
    if not found:
        return None
    name = _STOP.split(text.lower()[found.start() :].rsplit("/", 1)[-1], maxsplit=1)[0].strip()
    return canonical(name) or re.sub(r"\s+", "-", name)


def bucket_in(text):
    """The token bucket that a description speaks of; None for what is no text token (storage, search, pictures).

    "Cached input" comes before "input"; where both input and output stand, the first is meant (a real one reads
    "output token count gemini 2.5 flash short input text").

    Examples
    --------
    >>> bucket_in("Generate_content text cached input token count for gemini 3 pro short")
    'cache_read'
    """
    text = text.lower().replace("_", " ").replace("-", " ")
    if _MODALITY.search(text):
        return None
    if re.search(r"cache (?:write|creation)", text):
        return "cache_write_1h" if re.search(r"\b1 ?h", text) else "cache_write_5m"
    if re.search(r"cache|caching", text):
        return "cache_read"
    first = re.search(r"input|output", text)
    return first and {"input": "uncached_input", "output": "output"}[first[0]]
