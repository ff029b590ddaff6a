"""Anthropic: usage and cost reports (legacy and analytics) and the Console's two CSV files.

Input counters leave the cache out. API amounts are cents written as text; Console amounts are dollars rounded to
cents, so that small rows are 0.00 there. Days are UTC.
"""

import numpy as np
import pandas as pd

from tierlab.prices.names import canonical
from tierlab.usage.reader import Reader, child, children
from tierlab.usage.sheet import batch, buckets

_USAGE_DIMENSIONS = (
    *(
        "starting_at",
        "ending_at",
        "model",
        "workspace_id",
        "api_key_id",
        "service_tier",
        "context_window",
        "inference_geo",
    ),
    *(
        "speed",
        "account_id",
        "service_account_id",
        "actor",
        "product",
        "environment_id",
        "session_id",
        "user_profile_id",
    ),
    *(
        "actor_type",
        "agent_id",
        "deployment_id",
        "claude_tag_category",
        "claude_tag_user_id",
        "slack_channel_id",
    ),
    *("organization_id", "rbac_group_id"),
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
)
_CONSOLE_DIMENSIONS += ("context_window", "token_type", "cost_type", "inference_geo", "speed")


def _report_rows(records):
    """A row per result of a legacy report: pages of buckets of results, or the buckets themselves."""
    for line, page in records:
        for bucket in children(page, "data") if "data" in page else [page]:
            for result in children(bucket, "results") if bucket else [None]:
                if result is None:
                    yield line, None
                    continue
                times = {name: bucket.get(name) for name in ("starting_at", "ending_at")} | {
                    "has_more": page.get("has_more")
                }
                yield line, _counted(result) | times


def _analytics_rows(records):
    """A row per row of an analytics report, its group and its numbers side by side."""
    for line, page in records:
        for row in children(page, "data") if "data" in page else [page]:
            if row is None:
                yield line, None
                continue
            group, actor = child(row, "group"), child(row, "group").get("actor")
            if isinstance(actor, dict):
                group = group | {
                    "actor": actor.get("email_address") or actor.get("id") or actor.get("name")
                }
            times = {name: row.get(name) for name in ("starting_at", "ending_at")} | {
                "has_more": page.get("has_more")
            }
            yield line, _counted(child(row, "usage")) | child(row, "cost") | group | times


def _counted(result):
    written, searches = (
        child(result, "cache_creation"),
        child(result, "server_tool_use").get("web_search_requests"),
    )
    flat = {
        name: value
        for name, value in result.items()
        if name not in ("cache_creation", "server_tool_use")
    }
    hour = written.get("ephemeral_1h_input_tokens")
    return flat | {
        "write_5m": written.get("ephemeral_5m_input_tokens"),
        "write_1h": hour,
        "searches": searches,
    }


def _usage(sheet):
    overlap = ~sheet.empty("rbac_group_id")
    sheet.refuse(
        overlap, "grouped by rbac_group_id: a user of two groups counts twice in such rows"
    )
    return _tokens(
        sheet,
        (
            "uncached_input_tokens",
            "cache_read_input_tokens",
            "write_5m",
            "write_1h",
            "output_tokens",
            "searches",
        ),
        at=sheet.times("starting_at", zone="UTC"),
        model="model",
        tier="service_tier",
        requests=sheet.counts("requests", np.nan),
        user=sheet.text("actor", "account_id", "service_account_id"),
        team=sheet.text("workspace_id"),
        key=sheet.identity("anthropic", *_USAGE_DIMENSIONS),
        own_tokens=sheet.numbers("total_tokens") if "total_tokens" in sheet else None,
    )


def _console_usage(sheet):
    prefix = "usage_input_tokens_"
    names = [
        f"{prefix}{name}" for name in ("no_cache", "cache_read", "cache_write_5m", "cache_write_1h")
    ]
    return _tokens(
        sheet,
        (*names, "usage_output_tokens", "web_search_count"),
        at=sheet.times("usage_date_utc", zone="UTC"),
        model="model_version",
        tier="usage_type",
        requests=np.nan,
        user=None,
        team=sheet.text("workspace"),
        key=sheet.identity("anthropic console", *_CONSOLE_DIMENSIONS),
        own_tokens=None,
    )


def _tokens(sheet, names, *, model, tier, own_tokens, **columns):
    whole, read, write_5m, write_1h, output = (sheet.counts(name) for name in names[:5])
    sheet.refuse(sheet.empty(names[0]) & sheet.empty(names[4]), "no token counts")
    sheet.assume_pages()
    fast = pd.Series(sheet.text("speed"), dtype=object).eq("fast").to_numpy(bool)
    sheet.assume(fast, "speed 'fast', which has a price of its own, is priced as standard")
    sheet.assume(
        sheet.counts(names[5]) > 0, "web searches are charged by the search, not by these tokens"
    )
    own = whole + read + write_5m + write_1h + output if own_tokens is None else own_tokens
    return (
        buckets(sheet, whole, read, write_5m, write_1h, output, cache_inside=False)
        | columns
        | {
            "own_tokens": own,
            "model_id": sheet.models(model),
            "batch": batch(sheet, tier),
            "aggregate": True,
            "context_above": bands(sheet, "context_window"),
            "region": sheet.text("inference_geo"),
            "source": "billed",
        }
    )


def bands(sheet, name):
    """Context length above which a row's requests lie: 200,000 or 0, missing where the report does not say."""
    words = (
        pd.Series(sheet.text(name), dtype=object)
        .fillna("")
        .astype("str")
        .str.lower()
        .str.replace(" ", "")
    )
    above, below = words.str.contains(r">|200k-|long"), words.str.contains(r"200k|short")
    return np.where(above, 200_000.0, np.where(below, 0.0, np.nan))


def _cost(sheet):
    sheet.refuse(
        ~sheet.empty("rbac_group_id"),
        "grouped by rbac_group_id: a user of two groups counts twice in such rows",
    )
    return _money(
        sheet,
        sheet.numbers("amount") / 100,
        at=sheet.times("starting_at", zone="UTC"),
        amount="amount",
        line=sheet.text("description", "token_type", "cost_type"),
        key=sheet.identity("anthropic", *_COST_DIMENSIONS),
    )


def _console_cost(sheet):
    return _money(
        sheet,
        sheet.numbers("cost_usd"),
        at=sheet.times("usage_date_utc", zone="UTC"),
        amount="cost_usd",
        line=sheet.text("token_type", "cost_type"),
        key=sheet.identity("anthropic console", *_CONSOLE_DIMENSIONS),
    )


def _money(sheet, usd, *, amount, **columns):
    sheet.refuse(sheet.empty(amount), "no amount")
    sheet.assume_pages()
    sheet.only_usd("currency")
    sheet.money_only[:] = True
    names = pd.Series(sheet.text("model"), dtype=object)
    model_id = names.map(lambda name: canonical(name) or name, na_action="ignore").to_numpy(object)
    return columns | {"model_id": model_id, "usd": usd, "own_money": usd, "provider": "anthropic"}


READERS = (
    Reader(
        "anthropic_analytics_cost",
        (("data.group", "data.cost.amount"), ("group", "cost.amount")),
        _cost,
        _analytics_rows,
        provider="anthropic",
        kind="money",
    ),
    Reader(
        "anthropic_analytics_usage",
        (("data.group", "data.usage.output_tokens"), ("group", "usage.output_tokens")),
        _usage,
        _analytics_rows,
        provider="anthropic",
        kind="usage",
    ),
    Reader(
        "anthropic_cost",
        (("data.starting_at", "data.results.amount"), ("starting_at", "results.amount")),
        _cost,
        _report_rows,
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
        _report_rows,
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
