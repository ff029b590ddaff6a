"""Anthropic: usage and cost reports (legacy and analytics) and the Console's two CSV files.

Input counters leave the cache out. API amounts are cents written as text; Console amounts are dollars rounded to
cents, so that small rows are 0.00 there. Days are UTC.
"""

import numpy as np

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.prices.names import canonical
from tierlab.usage.reader import Reader, picked
from tierlab.usage.sheet import batch, buckets, mapped

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
)
_GROUPS = "grouped by rbac_group_id: a user of two groups counts twice in such rows"


def _usage(sheet):
    sheet.refuse(~sheet.empty("rbac_group_id"), _GROUPS)
    names = ("uncached_input_tokens", "cache_read_input_tokens", "write_short", "write_long")
    tokens = _tokens(sheet, (*names, "output_tokens", "searches"), "service_tier")
    summed, stated = sum(tokens[name] for name in TOKEN_COLUMNS), sheet.numbers("total_tokens")
    return tokens | {
        "at": sheet.times("starting_at", zone="UTC"),
        "model_id": sheet.models("model"),
        "requests": sheet.counts("requests", np.nan),
        "user": sheet.text("actor", "account_id", "service_account_id"),
        "team": sheet.text("workspace_id"),
        "key": sheet.identity("anthropic", *_USAGE_DIMENSIONS),
        "own_tokens": np.where(sheet.empty("total_tokens"), summed, stated),
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
        "own_tokens": sum(tokens[name] for name in TOKEN_COLUMNS),
    }


def _tokens(sheet, names, tier):
    """What both usage reports have, from the names of their four input counters, of output and of web searches."""
    whole, read, write_short, write_long, output, searches = names
    sheet.refuse(sheet.empty(whole) & sheet.empty(output), "no token counts")
    sheet.assume_pages()
    sheet.assume(
        sheet.words("speed") == "fast",
        "speed 'fast', which has a price of its own, is priced as standard",
    )
    sheet.assume(
        sheet.counts(searches) > 0, "web searches are charged by the search, not by these tokens"
    )
    tokens = buckets(
        sheet,
        sheet.counts(whole),
        sheet.counts(output),
        read=sheet.counts(read),
        write_short=sheet.counts(write_short),
        write_long=sheet.counts(write_long),
        cache_inside=False,
    )
    return tokens | {
        "batch": batch(sheet, tier),
        "aggregate": True,
        "context_above": bands(sheet, "context_window"),
        "region": sheet.text("inference_geo"),
        "source": "billed",
    }


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
    return mapped(sheet.text("model"), lambda name: canonical(name) or name)


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
    ),
)
