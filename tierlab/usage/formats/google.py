"""Google: usageMetadata of Gemini answers, and the Cloud billing export.

Gemini's prompt counter includes the cached tokens; thoughts stand beside the candidates and are output. The export
has a row per SKU, in the currency of the billing account, credits apart. Its invoice days are those of Los Angeles,
its times UTC: a day here is a UTC day. Which model and which token bucket a row is of, its SKU's text says.
"""

import json
import re

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.prices.names import resolved
from tierlab.usage.counters import Counters
from tierlab.usage.formats.anthropic import bands
from tierlab.usage.reader import Reader, added, children, picked, same
from tierlab.usage.sheet import buckets, mapped, tiers, units

_SERVICES = r"gemini api|vertex ai|generative language api|claude"
_TOKEN_UNITS = ("count", "tokens", "token")
_STOP = re.compile(
    r"\b(?:ga|short|long|text|audio|image|video|input|output|global|regional|batch|cached|caching|token|tokens|count|for"
    r"|predictions|thinking|non-thinking|priority|flex|standard|cache_read|cache_write\w*|on|usage)\b|[:,]| - "
)
_MODEL = re.compile(
    r"\b(?:gemini|gemma|claude|gpt|o\d|mistral|llama|deepseek|command|nova)[-\s\d.]"
)
_MODALITY = re.compile(r"\b(?:audio|image|video|grounding|search|storage|embedding)\b")


_COUNTERS = {
    "prompt": ("promptTokenCount", "prompt_token_count"),
    "cached": ("cachedContentTokenCount", "cached_content_token_count"),
    "answer": ("candidatesTokenCount", "candidates_token_count"),
    "thoughts": ("thoughtsTokenCount", "thoughts_token_count"),
    "tools": ("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
    "total": ("totalTokenCount", "total_token_count"),
    "traffic": ("trafficType", "traffic_type"),
    "tier": ("serviceTier", "service_tier"),
}
_DETAILS = {
    "input": ("promptTokensDetails", "prompt_tokens_details"),
    "cache": ("cacheTokensDetails", "cache_tokens_details"),
    "tool": ("toolUsePromptTokensDetails", "tool_use_prompt_tokens_details"),
    "output": ("candidatesTokensDetails", "candidates_tokens_details"),
}
_KINDS = ("audio", "image", "video")
_TEXT = ("text", "document", "modality_unspecified")
_SIDES = (
    ("input", "", "uncached_input_tokens"),
    ("cache", "_read", "cache_read_tokens"),
    ("output", "", "output_tokens"),
)
_answers = picked(
    {
        "time": ("logged_at", "timestamp", "time", "createTime", "create_time", "created_at"),
        "model": ("modelVersion", "model_version", "model"),
        "id": ("responseId", "response_id"),
        "finish": ("candidates.finishReason",),
        "queries": (
            "candidates.groundingMetadata.webSearchQueries",
            "candidates.grounding_metadata.web_search_queries",
        ),
    }
    | {
        name: (f"usageMetadata.{camel}", f"usage_metadata.{snake}")
        for name, (camel, snake) in (_COUNTERS | _DETAILS).items()
    },
    usage=("usageMetadata", "usage_metadata"),
    idle=[
        f"{name}.{field}"
        for names in _DETAILS.values()
        for name in names
        for field in ("tokenCount", "token_count")
    ],
)


def _metadata_rows(records):
    """A row per answer, with its counts by side and modality; a modality of another name than ours is told."""
    for line, row in _answers(records):
        sums = {}
        for side in _DETAILS:
            for item in filter(None, children(row, side)):
                kind = str(item.get("modality") or _TEXT[0]).lower()
                sums.setdefault((side, kind), []).append(
                    item.get("tokenCount", item.get("token_count"))
                )
        known = {(side, kind): added(counts) for (side, kind), counts in sums.items()}
        row |= {f"{side}_{kind}": known.get((side, kind)) for side in _DETAILS for kind in _KINDS}
        strange = {
            f"{side} {kind}": count
            for (side, kind), count in known.items()
            if kind not in (*_KINDS, *_TEXT)
        }
        row["unread"] = (row["unread"] or {}) | Counters(()).left(strange) or None
        row["searches"] = len(children(row, "queries")) or None
        del row["queries"]  # what was searched for is not kept
        yield line, row


def _metadata(sheet):
    tokens = buckets(
        sheet,
        sheet.counts("prompt", missing=None) + sheet.counts("tools"),
        sheet.counts("answer"),
        read=sheet.counts("cached"),
        cache_inside=True,
        reasoning=sheet.counts("thoughts"),
        reasoning_inside=False,
        total=sheet.numbers("total"),
    )
    parts = {}
    for kind in _KINDS:
        prompt, cached, tool, output = (sheet.counts(f"{side}_{kind}") for side in _DETAILS)
        for (side, way, bucket), size in zip(
            _SIDES, (np.maximum(prompt - cached, 0) + tool, cached, output), strict=True
        ):
            name = f"{side}_{kind}{way}_tokens"
            parts[name] = bucket, size
    model = sheet.models("model")
    # Google bills searches of Gemini 3 one by one, those of earlier models once an answer.
    once = pd.Series(model, dtype=object).astype("str").str.match("gemini-[12]").to_numpy(bool)
    searches = sheet.counts("searches")
    parts["web_searches"] = None, np.where(once, np.minimum(searches, 1), searches)
    vertex = ~sheet.empty("traffic")
    return (
        units(sheet, tokens, parts)
        | tiers(sheet, "traffic", "tier")
        | {
            "at": sheet.times("time"),
            "model_id": model,
            "platform": np.where(vertex, "vertex", None),
            "status": sheet.finished("finish"),
            "source": "recorded",
            "key": sheet.identity("gemini", "id"),
            "own_tokens": sheet.numbers("total"),
        }
    )


_export_rows = picked(
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


def _credit(credits):
    """The sum of the amounts of some credits, or what shows that one of them is not a number."""
    amounts = [item and item.get("amount") for item in children({"credits": credits}, "credits")]
    try:
        return sum(float(amount) for amount in amounts)
    except (TypeError, ValueError):
        return "no number"


def _export(sheet):
    sheet.raw["labels"] = [json.dumps(cell, sort_keys=True) for cell in sheet.raw["labels"]]
    sheet.raw["credit"] = [_credit(cell) for cell in sheet.raw["credits"]]
    sku = sheet.words("sku")
    ours = (sheet.words("service") + " " + sku).str.contains(_SERVICES)
    sheet.refuse(~ours, "a service that serves no models", "service")
    sheet.refuse(sheet.empty("cost"), "no cost")
    net = sheet.numbers("cost") + sheet.numbers("credit", 0.0)
    model, bucket = mapped(sku, model_in), mapped(sku, bucket_in)
    unit = sheet.words("unit")
    # Some SKUs count tokens under the unit "requests": no request is as cheap as a token.
    cheap = np.abs(sheet.numbers("cost")) <= 1e-3 * np.abs(sheet.numbers("amount"))
    counted = unit.isin(_TOKEN_UNITS) | (unit == "requests") & cheap
    tokens = counted.to_numpy(bool) & ~pd.isna(model) & ~pd.isna(bucket)
    return bill_columns(sheet, tokens, bucket, "amount", net, "currency") | {
        "at": sheet.times("start", zone="UTC"),
        "model_id": sheet.resolved(model),
        "team": sheet.text("project"),
        "platform": np.where(
            sheet.words("service").str.contains("vertex|claude"), "vertex", "google"
        ),
        "region": sheet.text("region"),
        "service_tier": mapped(sku, tier_in),
        "batch": sku.str.contains(r"\bbatch\b").to_numpy(bool),
        "context_above": bands(sheet, "sku"),
        "line": pd.Series(sheet.text("sku"), dtype=object).fillna("").to_numpy(object),
        "key": sheet.identity("gcp", *sheet.raw.columns),
    }


def bill_columns(sheet, tokens, bucket, quantity, money, currency):
    """The columns of a bill's rows: tokens in the bucket their text names, with the money beside; else money alone."""
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
    """The model that a description names, or None.

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
    # An id may have such words in it (gpt-image-1): it is tried first.
    whole = resolved(named.split()[0]).model_id
    return whole or resolved(name).model_id or re.sub(r"\s+", "-", name)


def tier_in(text):
    """The service tier that a description names, or None."""
    found = re.search(r"\b(?:priority|flex|provisioned)\b", text.lower())
    return found and found[0]


def bucket_in(text):
    """The token bucket that a description speaks of; None for what is not a text token (storage, search, pictures).

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
        return "cache_write_long" if re.search(r"\b1 ?h", text) else "cache_write_short"
    if re.search(r"cache|caching", text):
        return "cache_read"
    first = re.search(r"input|output", text)
    return first and {"input": "uncached_input", "output": "output"}[first[0]]


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
