"""Usage and cost reports of Anthropic and OpenAI, from their endpoints and as CSV files from their consoles.

Anthropic's input counters leave the cache out. Its endpoints write amounts in cents, as text; the Console writes dollars
rounded to cents, so that small rows are 0.00 there. OpenAI's input counters include cached and cache-write tokens; there
is no reasoning counter, times are seconds since 1970, and an amount may be a text of thirty digits. The e-mail column is
not read. Days are UTC at both.
"""

import re

import numpy as np
import pandas as pd

from tierlab.usage.columns import bands, buckets, places, tiers, units
from tierlab.usage.reader import Reader, picked, same
from tierlab.usage.sheet import mapped

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
_COUNTERS = {
    "uncached_input_tokens": "uncached_input_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "output_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "requests": "requests",
    "write_short": "cache_creation.ephemeral_5m_input_tokens",
    "write_long": "cache_creation.ephemeral_1h_input_tokens",
    "searches": "server_tool_use.web_search_requests",
}
# A legacy report has pages of buckets of results, or the buckets themselves; in a row of an analytics report its
# group and its numbers are side by side.
_anthropic_rows = picked(
    {name: (name, f"group.{name}") for name in _COST_DIMENSIONS}
    | {ours: (theirs, f"usage.{theirs}") for ours, theirs in _COUNTERS.items()}
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


def _anthropic_usage(sheet):
    sheet.refuse(~sheet.empty("rbac_group_id"), _GROUPS)
    names = ("uncached_input_tokens", "cache_read_input_tokens", "write_short", "write_long")
    tokens = _anthropic_tokens(sheet, (*names, "output_tokens", "searches"), "service_tier")
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
    tokens = _anthropic_tokens(
        sheet, (*names, "usage_output_tokens", "web_search_count"), "usage_type"
    )
    return tokens | {
        "at": sheet.times("usage_date_utc", zone="UTC"),
        "model_id": sheet.models("model_version"),
        "team": sheet.text("workspace"),
        "key": sheet.identity("anthropic console", *_CONSOLE_DIMENSIONS),
    }


def _anthropic_tokens(sheet, names, tier):
    """Return what both usage reports have; `names` are four input counters, output and web searches."""
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


def _anthropic_cost(sheet):
    sheet.refuse(~sheet.empty("rbac_group_id"), _GROUPS)
    return sheet.dollars("amount", per_usd=100) | {
        "at": sheet.times("starting_at", zone="UTC"),
        "model_id": sheet.models("model", needed=False),
        "line": sheet.text("description", "token_type", "cost_type"),
        "key": sheet.identity("anthropic", *_COST_DIMENSIONS),
    }


def _console_cost(sheet):
    return sheet.dollars("cost_usd") | {
        "at": sheet.times("usage_date_utc", zone="UTC"),
        "model_id": sheet.models("model", needed=False),
        "line": sheet.text("token_type", "cost_type"),
        "key": sheet.identity("anthropic console", *_CONSOLE_DIMENSIONS),
    }


_OPENAI_DIMENSIONS = (
    "start_time",
    "end_time",
    "model",
    "project_id",
    "user_id",
    "api_key_id",
    "batch",
    "service_tier",
    "line_item",
)
_OPENAI_COUNTERS = (
    "input_tokens",
    "output_tokens",
    "input_cached_tokens",
    "input_cache_write_tokens",
    "input_cache_write_12h_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "num_model_requests",
)
# Parts of other counters: text tokens, and the 30-minute cache writes, which are all that are not 12-hour ones.
_PARTS_OF_COUNTERS = (
    "input_text_tokens",
    "output_text_tokens",
    "input_cached_text_tokens",
    "input_uncached_tokens",
    "input_cache_write_30m_tokens",
)
# Pages of buckets of results, or the buckets themselves. All results of a bucket count.
_openai_rows = picked(
    same(*_OPENAI_DIMENSIONS, *_OPENAI_COUNTERS, "has_more")
    | {"amount_value": ("amount.value",), "amount_currency": ("amount.currency",)},
    lists=("data", "results"),
    usage=("",),
    idle=(*_PARTS_OF_COUNTERS, "quantity"),
)
_TOKEN_LINE = re.compile(
    r"^(?:.*\| *)?(?P<model>[^|,]+), *(?:cached |cache write |batch )*(?:input|output)\b"
)
_IDLE_DAY = "an idle day: no usage in it"


def _openai_usage(sheet):
    idle = sheet.empty("input_tokens") & sheet.empty("output_tokens") & sheet.empty("model")
    sheet.refuse(idle, _IDLE_DAY)
    sheet.assume_pages()
    sheet.assume(sheet.empty("service_tier"), "not grouped by service_tier: taken as no batch")
    written, long = (sheet.counts(f"input_cache_write_{name}tokens") for name in ("", "12h_"))
    sheet.refuse(long > written, "more 12-hour cache writes than cache writes")
    tokens = buckets(
        sheet,
        sheet.counts("input_tokens", missing=None),
        sheet.counts("output_tokens"),  # embeddings have none
        read=sheet.counts("input_cached_tokens"),
        write_short=written - long,
        write_long=long,
        cache_inside=True,
    )
    parts = {
        f"{side}_{kind}_tokens": (bucket, sheet.counts(f"{side}_{kind}_tokens"))
        for side, bucket in (("input", "uncached_input_tokens"), ("output", "output_tokens"))
        for kind in ("audio", "image")
    }
    return (
        units(sheet, tokens, parts)
        | tiers(sheet, "batch", "service_tier")
        | {
            "at": sheet.times("start_time", unit="s"),
            "model_id": sheet.models("model"),
            "user": sheet.text("user_id"),
            "team": sheet.text("project_id"),
            "requests": sheet.counts("num_model_requests", np.nan),
            "aggregate": True,
            "source": "billed",
            "key": sheet.identity("openai", *_OPENAI_DIMENSIONS),
        }
    )


def _openai_costs(sheet):
    sheet.refuse(sheet.empty("amount_value") & sheet.empty("line_item"), _IDLE_DAY)
    line = sheet.text("line_item")
    return sheet.dollars("amount_value", currency="amount_currency") | {
        "at": sheet.times("start_time", unit="s"),
        "model_id": sheet.resolved(mapped(line, _model_of)),
        "line": np.where(pd.isna(line), "all lines", line),
        "key": sheet.identity("openai", *_OPENAI_DIMENSIONS),
    }


def _model_of(line):
    """Return the model of a line item ("evals | gpt-4o-mini-2024-07-18, cached input"), None for a tool's."""
    found = _TOKEN_LINE.match(line)
    return found and found["model"].strip()


READERS = (
    Reader(
        "anthropic_analytics_cost",
        (("data.group", "data.cost.amount"), ("group", "cost.amount")),
        _anthropic_cost,
        _anthropic_rows,
        provider="anthropic",
        kind="money",
    ),
    Reader(
        "anthropic_analytics_usage",
        (("data.group", "data.usage.output_tokens"), ("group", "usage.output_tokens")),
        _anthropic_usage,
        _anthropic_rows,
        provider="anthropic",
        kind="usage",
    ),
    Reader(
        "anthropic_cost",
        (("data.starting_at", "data.results.amount"), ("starting_at", "results.amount")),
        _anthropic_cost,
        _anthropic_rows,
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
        _anthropic_usage,
        _anthropic_rows,
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
    Reader(
        "openai_costs",
        (("data.start_time", "data.results.amount"), ("start_time", "results.amount")),
        _openai_costs,
        _openai_rows,
        provider="openai",
        kind="money",
    ),
    Reader(
        "openai_usage",
        (
            ("data.start_time", "data.results.num_model_requests"),
            ("start_time", "results.num_model_requests"),
            ("data.start_time", "data.results.input_tokens"),
            ("data.start_time", "data.results"),
        ),
        _openai_usage,
        _openai_rows,
        provider="openai",
        kind="usage",
    ),
    Reader(
        "openai_dashboard_cost",
        (("start_time", "amount_value", "line_item"),),
        _openai_costs,
        provider="openai",
        kind="money",
        idle=("quantity",),
    ),
    Reader(
        "openai_dashboard_usage",
        (
            ("start_time", "num_model_requests", "input_tokens"),
            ("start_time", "end_time", "start_time_iso", "end_time_iso"),
        ),
        _openai_usage,
        provider="openai",
        kind="usage",
        idle=_PARTS_OF_COUNTERS,
    ),
)
