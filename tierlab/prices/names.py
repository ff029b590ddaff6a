"""The many spellings of a model, its seller, its region and its service tier.

A provider's prefix, a platform's id, a dated snapshot, a line of a bill and a display name all lead to one model id.
An unknown name is never guessed.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import pandas as pd

from tierlab.core.paths import DATA

PROVIDERS = {
    "anthropic": ("claude",),
    "openai": ("",),
    "google": ("gemini", "gemma"),
}  # id starts of first-party models
_VERSION_SUFFIX = re.compile(r"-(?:\d[\d-]*|latest|default|preview(?:-[\d-]+)?)")


@lru_cache
def lineups():
    """Read data/lineups.csv: which model stands for which tier, and from which date; reasoning models have no tier."""
    table = pd.read_csv(DATA / "lineups.csv", parse_dates=["as_of"])
    return table.assign(tier=table["tier"].astype(object).where(table["tier"].notna(), None))


@lru_cache
def known_models():
    """Return the model ids of the three providers in the maintained catalogue."""
    from genai_prices.data_snapshot import get_snapshot

    by_id = {provider.id: provider for provider in get_snapshot().providers}
    return sorted(
        {
            m.id
            for p, starts in PROVIDERS.items()
            for m in by_id[p].models
            if m.id.startswith(starts)
        }
    )


class Resolved(NamedTuple):
    """What a spelling says: the model, and where and how it is sold. None stands for what it does not say."""

    model_id: str | None
    platform: str | None = None
    region: str | None = None
    service_tier: str | None = None


class Listed(NamedTuple):
    """One model of genai-prices: its id, its maker, its seller, the regions that its price is for, and the model."""

    model_id: str
    provider: str
    platform: str
    region: str | None
    model: object


# Sellers by the names that logs, gateways and instrumentations give them; a maker's own API is named like the maker.
_PLATFORMS = {
    seller: spellings.split()
    for seller, spellings in {
        "bedrock": "aws amazon amazon_bedrock aws_bedrock bedrock_converse bedrock_mantle amazonbedrock",
        "vertex": "vertex_ai vertex_ai_beta google_vertex gcp_vertex_ai vertexai google_vertex_ai"
        " vertex_ai_anthropic_models",
        "google": "gemini google_ai_studio gcp_gemini gcp_gen_ai google_genai google_ai googleai",
        "azure": "azure_openai azure_ai azure_ai_openai azure_ai_inference azure_openai_service",
        "x-ai": "xai grok",
        "together": "together_ai togetherai",
        "fireworks": "fireworks_ai",
        "mistral": "mistral_ai mistralai",
        "moonshotai": "moonshot moonshot_ai",
        "zai": "z_ai",
        "github-copilot": "github_models copilot",
        "cloudflare": "workers_ai",
        "voyageai": "voyage",
    }.items()
}
_SELLERS = {spelling: seller for seller, own in _PLATFORMS.items() for spelling in (seller, *own)}
_MAKERS = {  # maker -> (vendor prefixes, how its models' names begin)
    "anthropic": ("", "claude"),
    "google": ("", "gemini gemma learnlm"),
    "openai": (
        "",
        "gpt chatgpt codex-mini text-embedding davinci babbage ft: o1 o3 o4 whisper tts dall-e",
    ),
    "x-ai": ("xai", "grok"),
    "meta": ("meta-llama meta-models", "llama meta-llama muse codellama"),
    "mistral": (
        "mistralai mistral-ai",
        "mistral mixtral ministral codestral devstral magistral pixtral voxtral open-mi",
    ),
    "deepseek": ("deepseek-ai", "deepseek"),
    "qwen": ("alibaba", "qwen qwq"),
    "moonshotai": ("moonshot", "kimi moonshot"),
    "zai": ("zai-org z-ai thudm zhipuai", "glm zai"),
    "minimax": ("minimaxai", "minimax m2-her"),
    "amazon": ("", "nova titan"),
    "nvidia": ("", "nemotron"),
    "microsoft": ("azure", "phi- mai- wizardlm"),
    "cohere": ("cohereforai", "command c4ai"),
    "perplexity": ("", "sonar pplx r1-1776"),
    "cursor": ("", "composer"),
    "ai21": ("ai21labs", "jamba"),
    "writer": ("", "palmyra"),
    "voyageai": ("", "voyage"),
    "elevenlabs": ("", "eleven"),
    "typesafe": ("", "jev"),
}
_VENDORS = {
    spelling: maker for maker, (own, _) in _MAKERS.items() for spelling in (maker, *own.split())
}
_GEOGRAPHIES = "global|regional|us-gov|us|eu|apac|jp|au|in|ca"
_BEDROCK = re.compile(
    rf"(?:(?P<geo>{_GEOGRAPHIES})\.)?(?P<vendor>{'|'.join(_VENDORS)}|stability|twelvelabs|luma)\.(?P<model>[a-z].*)"
)
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\w+)+$|-\d:\d$|:\d$")
_ARN = re.compile(r"arn:aws[\w-]*:bedrock:(?P<region>[\w-]*):\d*:(?P<kind>[\w-]+)/(?P<id>.+)")
_VERTEX = re.compile(
    r"(?:projects/[^/]+/)?(?:locations/(?P<region>[^/]+)/)?(?P<kind>publishers/[^/]+/models|endpoints)/(?P<id>.+)"
)
_STEP = re.compile(  # what may stand between a gateway's prefix and the id
    r"(?:converse|invoke|(?P<region>global|eu|us|(?:us|eu|ap|ca|sa|me|af|il|mx|cn)(?:-gov)?-[a-z]+-\d)(?:-standard)?)/"
)
_COMPACT_DATE = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")
_CLAUDE = re.compile(r"claude-(\d+(?:[.-]\d)?)-?(haiku|sonnet|opus|fable|mythos)(?![a-z])")
_ROUTING = ("nitro", "floor", "exacto", "online", "beta", "extended", "thinking")
_USAGE_TYPE = re.compile(  # of an AWS bill: USE1-Claude4.6Sonnet-input-tokens-cross-region-global
    r"[a-z]{2,4}\d-(?P<model>.+?)(?:-mantle)?-(?P<rest>(?:input|output|cache)-.+)"
)
_METER_REGIONS = {
    **dict.fromkeys(("global", "glbl", "gl"), "global"),
    **dict.fromkeys(("dz", "dzn", "dzone", "datazone"), "data_zone"),
    **dict.fromkeys(("regional", "regnl", "rgnl"), "regional"),
}
_METER_TIERS = {"pp": "priority", "priority": "priority", "flex": "flex"}
_METER_WORDS = re.compile(
    r"inpt?|in|input|opt|outpt?|out|output|cached|c?cchd|cd|cach(?:e|ing)|rd|read|wr|write|hit|batch|std|standard"
    r"|(?:short|long)(?:co)?|tokens?|10?k|1m|ga|text|predictions?|thinking|count"
)
_AZURE_WORDS = re.compile(r"inpt?|opt|outpt?|c?cchd|cd|glbl|gl|dzo?n?e?|datazone|regnl|rgnl|pp")


def platform_of(text):
    """Return the seller that a log, a gateway or an instrumentation names; a maker's own API has the maker's name.

    Examples
    --------
    >>> [platform_of(name) for name in ("Amazon Bedrock", "vertex_ai", "azure.ai.openai", "OpenAI", "Groq")]
    ['bedrock', 'vertex', 'azure', 'openai', 'groq']
    """
    plain = re.sub(r"[\s.-]+", "_", text.strip().lower())
    if plain == "first_party" or text in sellers():
        return text
    return _SELLERS.get(plain) or _VENDORS.get(plain.replace("_", "-"), plain.replace("_", "-"))


@lru_cache(maxsize=4096)
def resolved(name, own_ids=frozenset()):
    """Return the model, platform, region and service tier that a spelling names; None for what it leaves open.

    It understands dated snapshots, Claude's word orders, ids and paths of Bedrock, Vertex, Fireworks and Cloudflare,
    prefixes of LiteLLM, slugs of OpenRouter, and the words of Azure's, Google's and AWS's bills.

    Parameters
    ----------
    name : str
    own_ids : frozenset of str
        Ids that are known in addition to those of the maintained catalogue.

    Examples
    --------
    >>> resolved("us.anthropic.claude-haiku-4-5-20251001-v1:0")
    Resolved(model_id='claude-haiku-4-5', platform='bedrock', region='us', service_tier=None)
    >>> resolved("GPT 5 outpt Glbl 1M Tokens")
    Resolved(model_id='gpt-5', platform='azure', region='global', service_tier=None)
    >>> resolved("anthropic/claude-4.5-haiku-20251001").model_id, resolved("our-deployment").model_id
    ('claude-haiku-4-5', None)
    """
    text = name.strip()
    if text in own_ids:
        return Resolved(text)
    text = text.lower().removesuffix("[1m]").strip().removeprefix("~").removeprefix("models/")
    own = {_normal(model_id): model_id for model_id in own_ids}
    if text.startswith("ft:"):
        _, matchers = _first_party()
        tuned = (m for m in matchers if m.startswith("ft:") and (m == text or matchers[m](text)))
        return Resolved(next(tuned, None))
    plain = not ("/" in text or text.startswith("databricks-") or text.endswith("-maas"))
    plain = plain and not _BEDROCK.fullmatch(text)
    if plain and (model_id := _model(text, own)):  # an id as its maker writes it, or a display name
        return Resolved(model_id)
    return _path(text, own) or _bill(text, own) or Resolved(_model(text, own))


def canonical(name):
    """Return the model id that a spelling stands for, or None.

    A dated snapshot counts only where the maintained catalogue itself assigns it to the model, because another date
    can have another price (gpt-4o-2024-05-13 costs 5 / 15, gpt-4o 2.50 / 10).
    """
    return resolved(name).model_id


def _path(text, own):
    """Read an id in the form of a platform: a resource path, a gateway's prefix, a vendor before a dot."""
    if arn := _ARN.fullmatch(text):
        if arn["kind"] not in ("inference-profile", "foundation-model"):
            return Resolved(None, "bedrock", arn["region"] or None)  # names no model
        found = _path(arn["id"], own) or Resolved(None)
        region = found.region if found.region not in (None, "regional") else arn["region"]
        return Resolved(found.model_id, "bedrock", region or found.region)
    if vertex := _VERTEX.fullmatch(text):
        model_id = None if vertex["kind"] == "endpoints" else _model(vertex["id"], own)
        return Resolved(model_id, "vertex", vertex["region"])
    if bedrock := _BEDROCK.fullmatch(text):
        sold = sold_as().get(("bedrock", f"{bedrock['vendor']}.{bedrock['model']}"))
        model_id = sold or _model(_unversioned(bedrock["model"]), own)
        return Resolved(model_id, "bedrock", bedrock["geo"] or "regional")
    if text.startswith("accounts/"):
        parts = text.split("/")
        ours = len(parts) == 4 and parts[1] == "fireworks"
        return Resolved(_model(parts[-1], own) if ours else None, "fireworks")
    if text.startswith("@cf/"):
        return Resolved(_model(text, own), "cloudflare")
    if text.endswith("-maas") and "/" not in text:
        return Resolved(_model(text.removesuffix("-maas"), own), "vertex")
    if text.startswith("databricks-"):
        sold = sold_as().get(("databricks", text))
        return Resolved(sold or _model(text.removeprefix("databricks-"), own), "databricks")
    slug, _, variant = text.rpartition(":")
    if slug and variant in ("free", "batch", *_ROUTING):
        found = _path_or_model(slug, own)
        listing = _hosted().get(
            _normal(text)
        )  # some variants are ids of their own, at their own price
        if variant in ("free", "batch"):
            listing = listing or (found.model_id and f"{found.model_id}:{variant}")
            found = Resolved(None)
        return Resolved(listing or found.model_id, "openrouter")
    if text.startswith("openrouter/") and (sold := sold_as().get(("openrouter", text))):
        return Resolved(sold, "openrouter")
    return _prefixed(text, own)


def _path_or_model(text, own):
    return _path(text, own) or Resolved(_model(text, own))


def _prefixed(text, own):
    """Read an id behind the prefix of a gateway (``bedrock/us-east-1/...``) or of a vendor (``openai/...``)."""
    first, _, rest = text.partition("/")
    seller = _SELLERS.get(first.replace("-", "_"), first if first in sellers() else None)
    if not rest or (seller is None and first not in _VENDORS):
        return None
    if first in _VENDORS and first not in ("azure", "xai"):
        return Resolved(_model(rest, own, slug=True))  # whose it is, but not where it was bought
    region = None
    while step := _STEP.match(rest):
        region, rest = step["region"] or region, rest[step.end() :]
    found = _path(rest, own) if "/" in rest or seller == "bedrock" else None
    found = found or Resolved(_model(rest, own, slug=seller == "openrouter"))
    if found.region not in (None, "regional"):
        region = found.region
    return Resolved(found.model_id, seller, region or found.region)


def _bill(text, own):
    """Read a line of a bill: model, direction, scope and tier in one text, which each generation spells differently."""
    if usage := _USAGE_TYPE.fullmatch(text):
        found = _path_or_model(usage["model"], own)
        tier = next((t for t in ("flex", "priority") if f"-{t}" in usage["rest"]), None)
        region = "global" if "global" in usage["rest"] else "regional"
        return Resolved(found.model_id, "bedrock", region, tier)
    if " " not in text:
        return None
    bare = text.removesuffix("(amazon bedrock edition)").split(" - ")
    words = re.sub(r"data zone", "datazone", " ".join(bare[1:] if "azure" in bare[0] else bare))
    words = re.sub(r"batch(?=[io])", "batch ", words).split()
    said = {
        word
        for word in words
        if word in _METER_REGIONS or word in _METER_TIERS or _METER_WORDS.fullmatch(word)
    }
    platform = "azure" if any(_AZURE_WORDS.fullmatch(word) for word in words) else None
    if text.endswith("(amazon bedrock edition)"):
        platform = "bedrock"
    elif not said:
        return None
    left = "-".join(word for word in words if word not in said)
    if left[:1].isdigit():  # GPT-5.x and Grok without their family name
        found = {m for family in ("gpt", "grok") if (m := _snapshot(f"{family}-{left}", own))}
        model_id = found.pop() if len(found) == 1 else None
    else:
        model_id = (
            _snapshot(left, own) or ("text" in said and _snapshot(f"text-{left}", own)) or None
        )
    region = next((_METER_REGIONS[word] for word in words if word in _METER_REGIONS), None)
    tier = next((_METER_TIERS[word] for word in words if word in _METER_TIERS), None)
    return Resolved(model_id, platform, region, tier)


def _snapshot(text, own):
    """Find a model by its name, or by its name and the month and day of a snapshot (``gpt-4o-1120``)."""
    found = _model(text, own)
    day = re.fullmatch(r"(.+?)-?([01]\d)([0-3]\d)", text)
    if found or not day:
        return found
    dated = {_model(f"{day[1]}-{year}-{day[2]}-{day[3]}", own) for year in range(2023, 2028)} - {
        None
    }
    return dated.pop() if len(dated) == 1 else None


def _model(text, own, slug=False):
    """Return the model that a bare id, a slug's last part or a display name stands for, or None."""
    first, _ = _first_party()
    spellings = list(_spellings(text, slug))
    return _found(spellings, first | own) or _found(spellings, _hosted())


def _found(spellings, names):
    """Return the model of the first spelling that is a known name, or a snapshot that its maker assigns to a model."""
    _, matchers = _first_party()
    for spelling in spellings:
        normal = _normal(spelling)
        if normal in names:
            return names[normal]
        for cut in reversed([i for i, character in enumerate(normal) if character == "-"]):
            model_id = names.get(normal[:cut])
            dated = model_id in matchers and _VERSION_SUFFIX.fullmatch(normal[cut:])
            if dated and any(matchers[model_id](given) for given in (normal, spelling)):
                return model_id
    return None


def _spellings(text, slug):
    """Yield a name and its other possible spellings, the surest first."""
    text = re.sub(r"[\s_@]+", "-", text.rsplit("/", 1)[-1])
    text = re.sub(r"-default$", "", re.sub(r"^gpt-35", "gpt-3.5", text))
    turned = _CLAUDE.sub(r"claude-\2-\1", re.sub(r"^claude(?=\d)", "claude-", text))
    for name in dict.fromkeys((text, turned, turned.removesuffix("-thinking"))):
        yield name
        if _COMPACT_DATE.search(name):
            yield _COMPACT_DATE.sub(r"-\1-\2-\3", name)
            if slug:  # OpenRouter's own date of a model
                yield _COMPACT_DATE.sub("", name)
    yield re.sub(r"-00\d$|-maas$", "", text)
    yield re.sub(r"-v\d-(?=20\d)", "-", text)
    if text.startswith(("gpt-", "o1", "o3", "o4")):
        # The effort has no price of its own.
        yield re.sub(r"-(?:minimal|low|medium|high|xhigh)$", "", text)


@lru_cache
def sellers():
    """Return the platforms of the maintained catalogue."""
    return frozenset(entry.platform for entry in listed())


@lru_cache
def makers():
    """List the models that their makers sell themselves: (maker, model of genai-prices) pairs."""
    from genai_prices.data_snapshot import get_snapshot

    own = [
        (provider.id, model)
        for provider in get_snapshot().providers
        if provider.id in _MAKERS
        for model in provider.models
        if _maker(model.id, provider.id) == provider.id and not model.id.endswith("-maas")
    ]
    order = [*PROVIDERS, *_MAKERS]
    return sorted(own, key=lambda pair: (order.index(pair[0]), "/" in pair[1].id))


def _maker(genai_id, seller):
    """Return the maker of a model of genai-prices: its vendor, else by how its name begins, else the seller."""
    text = genai_id.lower().removeprefix("~").removeprefix("@cf/")
    bedrock = _BEDROCK.fullmatch(text)
    vendor = bedrock["vendor"] if bedrock else text.split("/")[0] if "/" in text else None
    if vendor and vendor != seller:
        return _VENDORS.get(vendor, vendor)
    bare = text.rsplit("/", 1)[-1].removeprefix("databricks-")
    starts = ((maker, start) for maker, (_, own) in _MAKERS.items() for start in own.split())
    return next((maker for maker, start in starts if bare.startswith(start)), seller)


@lru_cache
def _first_party():
    """Map spellings to model ids, and model ids to matchers, for what the makers sell themselves."""
    matchers = {model.id: model.is_match for _, model in makers()}
    names = {}
    for maker, model in makers():
        clauses = getattr(model.match, "or_", [model.match])
        for alias in [
            model.name or model.id,
            model.id.removesuffix("-latest"),
            *(c.equals for c in clauses if hasattr(c, "equals")),
        ]:
            if maker in PROVIDERS or alias.startswith(model.id):  # others' move: deepseek-r1
                names.setdefault(_normal(alias), model.id)
    names = {_normal(model_id): model_id for model_id in reversed(matchers)} | names
    names |= {_normal(model_id): model_id for model_id in known_models()}
    names |= {
        _normal(name): model_id
        for name, model_id in lineups()[["name", "model_id"]].itertuples(index=False)
    }
    return names, matchers


@lru_cache
def listed():
    """List all models of genai-prices as `Listed`, those sold by their makers first."""
    from genai_prices.data_snapshot import get_snapshot

    names, _ = _first_party()
    rows = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            maker = _maker(model.id, provider.id)
            platform = {"aws": "bedrock"}.get(provider.id, provider.id)
            if platform == "google" and (maker != "google" or model.id.endswith("-maas")):
                platform = "vertex"
            found = _BEDROCK.fullmatch(model.id.lower()) if platform == "bedrock" else None
            if found:
                base, variant = _unversioned(_BEDROCK_VERSION.sub("", found["model"])), ""
            else:
                base, _, variant = model.id.lower().rsplit("/", 1)[-1].partition(":")
                base = base.removeprefix("databricks-").removesuffix("-maas")
            own = (
                _found([model.id.lower().partition(":")[0], *_spellings(base, True)], names) or base
            )
            model_id = model.id if platform == maker else f"{own}:{variant}" if variant else own
            rows.append(Listed(model_id, maker, platform, found["geo"] if found else None, model))
    rows.sort(
        key=lambda row: (
            row.platform != row.provider,
            _normal(row.model.id) != _normal(row.model_id),
            ("/" in row.model.id) == (row.platform == row.provider),
        )
    )
    spelt, taken = {}, set()
    for place, row in enumerate(rows):
        model_id = spelt.setdefault(_normal(row.model_id), row.model_id)
        if (model_id, row.platform, row.region) in taken:
            # The second of one seller keeps its own id.
            own = row.platform == row.provider
            model_id = row.model.id if own else f"{row.platform}/{row.model.id.lower()}"
        taken.add((model_id, row.platform, row.region))
        rows[place] = row._replace(model_id=model_id)
    return rows


@lru_cache
def sold_as():
    """Map (platform, the seller's own id without a region) to model ids."""
    return {
        (row.platform, row.model.id.lower().removeprefix(f"{row.region}.")): row.model_id
        for row in listed()
    }


@lru_cache
def _hosted():
    """Map spellings to model ids for what only others than its maker sell, or sell under a name of their own."""
    rows = reversed(listed())  # the first listing of a spelling counts
    return {_normal(name): row.model_id for row in rows for name in (row.model.id, row.model_id)}


def _unversioned(text):
    return re.sub(r"-v\d$", "", text)


def _normal(name):
    """Reduce a model name to one spelling: no provider's prefix, no platform's suffix, dashes as separators."""
    name = name.strip().lower().rsplit("/", 1)[-1]
    if bedrock := _BEDROCK.fullmatch(name):
        name = _unversioned(bedrock["model"])
    return re.sub(r"[\s_.@]+", "-", _BEDROCK_VERSION.sub("", name))
