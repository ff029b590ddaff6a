"""Names: tiers, token buckets, the columns of a prices table, and the many spellings of a model.

A provider prefix, a platform suffix, a dated snapshot and a display name all lead to one model id. What is
unknown is named beside its nearest known neighbour, never guessed.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.vocabulary import RATES

PROVIDERS = {
    "anthropic": ("claude",),
    "openai": ("",),
    "google": ("gemini", "gemma"),
}  # id starts of first-party models


DATES = ("valid_from", "launched_on", "retires_on", "checked_on")
COLUMNS = (
    *("model_id", "provider", "tier", "reasoning_model", "valid_from", "context_above"),
    *RATES,
    *("approximate", "batch_assumed", "write_assumed", "launched_on", "retires_on"),
    *("context_window", "max_output_tokens", "source", "checked_on"),
)
_VERSION_SUFFIX = re.compile(r"-(?:\d[\d-]*|latest|default|preview(?:-[\d-]+)?)")


@lru_cache
def lineups():
    """data/lineups.csv: which model stands for which tier from which date on; reasoning models have no tier."""
    table = pd.read_csv(DATA / "lineups.csv", parse_dates=["as_of"])
    return table.assign(tier=table["tier"].astype(object).where(table["tier"].notna(), None))


@lru_cache
def genai_models():
    """First-party models of the three providers: (provider, model) pairs of the bundled genai-prices snapshot."""
    from genai_prices.data_snapshot import get_snapshot

    by_id = {provider.id: provider for provider in get_snapshot().providers}
    return [
        (p, m)
        for p, starts in PROVIDERS.items()
        for m in by_id[p].models
        if m.id.startswith(starts)
    ]


class Resolved(NamedTuple):
    """What a spelling of a model says: whose model, sold where. None is what it does not say."""

    model_id: str | None
    platform: str | None = None
    region: str | None = None
    service_tier: str | None = None


def resolved(name, own_ids=frozenset()):
    """Model, platform, region and service tier that a spelling names."""
    return Resolved(canonical(name, own_ids))


@lru_cache(maxsize=4096)
def canonical(name, own_ids=frozenset()):
    """Model id that a spelling stands for, or None.

    A dated snapshot counts only where the maintained catalogue's own matching gives it to the model: another
    date can be another price (gpt-4o-2024-05-13 is 5 / 15, gpt-4o is 2.50 / 10).
    """
    names, matchers = _aliases()
    names = names | {_normal(model_id): model_id for model_id in own_ids}
    normal = _normal(name)
    if normal in names:
        return names[normal]
    spellings = (normal, re.sub(r"[\s_@]+", "-", name.strip().lower().rsplit("/", 1)[-1]))
    for cut in reversed([i for i, character in enumerate(normal) if character == "-"]):
        model_id = names.get(normal[:cut])
        dated = model_id in matchers and _VERSION_SUFFIX.fullmatch(normal[cut:])
        if dated and any(matchers[model_id](spelling) for spelling in spellings):
            return model_id
    return None


def known_models():
    """Model ids of the maintained catalogue."""
    return sorted(_aliases()[1])


@lru_cache
def _aliases():
    """(normal spelling -> model id, model id -> matcher) of the maintained catalogue and the lineups."""
    matchers = {model.id: model.is_match for _, model in genai_models()}
    names = {}
    for _, model in genai_models():
        clauses = getattr(model.match, "or_", [model.match])
        for alias in [
            model.name or model.id,
            model.id.removesuffix("-latest"),
            *(c.equals for c in clauses if hasattr(c, "equals")),
        ]:
            names.setdefault(_normal(alias), model.id)
    names |= {_normal(model_id): model_id for model_id in matchers}
    names |= {
        _normal(name): model_id
        for name, model_id in lineups()[["name", "model_id"]].itertuples(index=False)
    }
    return names, matchers


def _normal(name):
    """One spelling of a model name: no provider prefix, no platform suffix, dashes for every separator."""
    name = name.strip().lower().rsplit("/", 1)[-1]
    name = re.sub(r"^(?:[a-z]+(?:-[a-z]+)?\.)?(?:anthropic|openai|google)\.", "", name)
    return re.sub(r"[\s_.@]+", "-", re.sub(r"-v\d+(?::\d+)?$", "", name))
