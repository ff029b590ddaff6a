"""Anthropic: usage and cost reports (legacy and analytics) and the Console's two CSV files.

Input counters leave the cache out. API amounts are cents written as text; Console amounts are dollars rounded to
cents, so that small rows are 0.00 there. Days are UTC.
"""

import numpy as np

from tierlab.usage.reader import Reader, picked
from tierlab.usage.sheet import buckets, mapped, tiers, units

_USAGE_DIMENSIONS = (
    "starting_at",
    "ending_at",
    "model",
    "workspace_id",
    "api_key_id",
    "service_tier",
    "context_window",
    "inference_geo",
    "speed",
    "account_id",
    "service_account_id",
    "actor",
    "product",
    "environment_id",
    "session_id",
    "user_profile_id",
    "actor_type",
    "agent_id",
    "deployment_id",
    "claude_tag_category",
    "claude_tag_user_id",
    "slack_channel_id",
    "organization_id",
    "rbac_group_id",
)
_COST_DIMENSIONS = (*_USAGE_DIMENSIONS, "cost_type", "token_type", "description")
_CONSOLE_DIMENSIONS = (
    "usage_date_utc",
    "model_version",
    "model",
    "workspace",
    "api_key",
    "api_key_id",
    "usage_type",
    "context_window",
    "token_type",
    "cost_type",
    "inference_geo",
    "speed",
)
_COUNTERS = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "total_tokens",
    "requests",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "server_tool_use.web_search_requests",
)
_SHORT = {
    "cache_creation.ephemeral_5m_input_tokens": "write_short",
    "cache_creation.ephemeral_1h_input_tokens": "write_long",
    "server_tool_use.web_search_requests": "searches",
}
# A legacy report has pages of buckets of results, or the buckets themselves; in a row of an analytics report its
# group and its numbers are side by side.
_rows = picked(
    {name: (name, f"group.{name}") for name in _COST_DIMENSIONS}
    | {_SHORT.get(name, name): (name, f"usage.{name}") for name in _COUNTERS}
    | {name: (name, f"cost.{name}") for name in ("amount", "currency")}
    | {
        "actor": ("actor", *(f"group.actor.{name}" for name in ("email_address", "id", "name"))),
        "has_more": ("has_more",),
    },
    lists=("data", "results"),
    usage=("",),
    idle=("list_amount", "cost.list_amount", "has_more", "cost.requests"),
)
_GROUPS = "grouped by rbac_group_id: a user of two groups counts twice in such rows"


def _usage(sheet):
    sheet.refuse(~sheet.empty("rbac_group_id"), _GROUPS)
    names = ("uncached_input_tokens", "cache_read_input_tokens", "write_short", "write_long")
    tokens = _tokens(sheet, (*names, "output_tokens", "searches"), "service_tier")
    return tokens | {
        "at": sheet.times("starting_at", zone="UTC"),
        "model_id": sheet.models("model"),
        "requests": sheet.counts("requests", np.nan),
        "user": sheet.text("actor", "account_id", "service_account_id"),
        "team": sheet.text("workspace_id"),
        "key": sheet.identity("anthropic", *_USAGE_DIMENSIONS),
        "own_tokens": sheet.numbers("total_tokens"),
    }


def _console_usage(sheet):
    words = ("no_cache", "cache_read", "cache_write_5m", "cache_write_1h")
    names = [f"usage_input_tokens_{word}" for word in words]
    tokens = _tokens(sheet, (*names, "usage_output_tokens", "web_search_count"), "usage_type")
    return tokens | {
        "at": sheet.times("usage_date_utc", zone="UTC"),
        "model_id": sheet.models("model_version"),
        "team": sheet.text("workspace"),
        "key": sheet.identity("anthropic console", *_CONSOLE_DIMENSIONS),
    }


def _tokens(sheet, names, tier):
    """What both usage reports have, from the names of their four input counters, of output and of web searches."""
    whole, read, write_short, write_long, output, searches = names
    sheet.refuse(sheet.empty(whole) & sheet.empty(output), "no token counts")
    sheet.assume_pages()
    sheet.assume(sheet.empty(tier), f"not grouped by {tier}: taken as no batch")
    tokens = buckets(
        sheet,
        sheet.counts(whole),
        sheet.counts(output),
        read=sheet.counts(read),
        write_short=sheet.counts(write_short),
        write_long=sheet.counts(write_long),
        cache_inside=False,
    )
    searches = {"web_searches": (None, sheet.counts(searches))}
    return (
        units(sheet, tokens, searches)
        | tiers(sheet, tier, "speed")
        | {
            "aggregate": True,
            "context_above": bands(sheet, "context_window"),
            "region": places(sheet, "inference_geo"),
            "source": "billed",
        }
    )


def places(sheet, name):
    """Where Anthropic computed ("global" or "us"); None where it does not say, or says "not_available"."""
    return mapped(sheet.text(name), lambda word: None if word == "not_available" else word)


def bands(sheet, name):
    """Context length above which a row's requests lie: 200,000 or 0, missing where the report does not say."""
    words = sheet.words(name).str.replace(" ", "")
    above, below = words.str.contains(r">|200k-|long"), words.str.contains(r"200k|short")
    return np.where(above, 200_000.0, np.where(below, 0.0, np.nan))


def _cost(sheet):
    sheet.refuse(~sheet.empty("rbac_group_id"), _GROUPS)
    return sheet.dollars("amount", currency="currency", per_usd=100) | {
        "at": sheet.times("starting_at", zone="UTC"),
        "model_id": _model(sheet),
        "line": sheet.text("description", "token_type", "cost_type"),
        "key": sheet.identity("anthropic", *_COST_DIMENSIONS),
    }


def _console_cost(sheet):
    return sheet.dollars("cost_usd") | {
        "at": sheet.times("usage_date_utc", zone="UTC"),
        "model_id": _model(sheet),
        "line": sheet.text("token_type", "cost_type"),
        "key": sheet.identity("anthropic console", *_CONSOLE_DIMENSIONS),
    }


def _model(sheet):
    return sheet.models("model", needed=False)


READERS = (
    Reader(
        "anthropic_analytics_cost",
        (("data.group", "data.cost.amount"), ("group", "cost.amount")),
        _cost,
        _rows,
        provider="anthropic",
        kind="money",
    ),
    Reader(
        "anthropic_analytics_usage",
        (("data.group", "data.usage.output_tokens"), ("group", "usage.output_tokens")),
        _usage,
        _rows,
        provider="anthropic",
        kind="usage",
    ),
    Reader(
        "anthropic_cost",
        (("data.starting_at", "data.results.amount"), ("starting_at", "results.amount")),
        _cost,
        _rows,
        provider="anthropic",
        kind="money",
    ),
    Reader(
        "anthropic_usage",
        (
            ("data.starting_at", "data.results.uncached_input_tokens"),
            ("starting_at", "results.uncached_input_tokens"),
            ("data.starting_at", "data.results"),
        ),
        _usage,
        _rows,
        provider="anthropic",
        kind="usage",
    ),
    Reader(
        "anthropic_console_tokens",
        (("usage_date_utc", "usage_input_tokens_no_cache", "usage_output_tokens"),),
        _console_usage,
        provider="anthropic",
        kind="usage",
    ),
    Reader(
        "anthropic_console_cost",
        (("usage_date_utc", "cost_usd"),),
        _console_cost,
        provider="anthropic",
        kind="money",
        idle=("list_price_usd",),
    ),
)
