"""Spellings: every way in which logs, gateways and bills write a model leads to it, without a guess."""

import pytest

from tierlab.prices.names import listed, platform_of, resolved

SPELLINGS = """
claude-haiku-4-5@20251001                          | claude-haiku-4-5
claude-sonnet-4-6@default                          | claude-sonnet-4-6
claude-3-5-sonnet-v2@20241022                      | claude-3-5-sonnet
claude-4.5-haiku-20251001                          | claude-haiku-4-5
claude-4-5-haiku                                   | claude-haiku-4-5
claude-opus-4-8[1m]                                | claude-opus-4-8
claude-4.6-sonnet-thinking                         | claude-sonnet-4-6
gpt-5.3-codex-high                                 | gpt-5.3-codex
gpt-35-turbo                                       | gpt-3.5-turbo
ft:gpt-4o-mini-2024-07-18:org::id                  | ft:gpt-4o-mini
gemini-2.5-flash-001                               | gemini-2.5-flash
anthropic/claude-4.6-sonnet-20260217               | claude-sonnet-4-6
anthropic/claude-4-sonnet-20250522                 | claude-sonnet-4-0
openai/gpt-5.5-20260423                            | gpt-5.5
openai/gpt-5-2025-08-07                            | gpt-5
google/gemini-3.1-pro-preview-20260219             | gemini-3.1-pro-preview
meta-llama/Llama-3.3-70B-Instruct-Turbo            | llama-3.3-70b-instruct-turbo
anthropic/claude-3.7-sonnet:thinking               | claude-3-7-sonnet-latest | openrouter
openai/gpt-5:nitro                                 | gpt-5 | openrouter
openai/gpt-5:floor                                 | gpt-5 | openrouter
moonshotai/kimi-k2:exacto                          | kimi-k2 | openrouter
openai/gpt-4o:online                               | gpt-4o | openrouter
deepseek/deepseek-r1:free                          | deepseek-r1:free | openrouter
anthropic/claude-opus-4.5:batch                    | claude-opus-4-5:batch | openrouter
openrouter/anthropic/claude-4.6-sonnet-20260217    | claude-sonnet-4-6 | openrouter
us.anthropic.claude-haiku-4-5                      | claude-haiku-4-5 | bedrock | us
us.anthropic.claude-haiku-4-5-20251001-v1:0        | claude-haiku-4-5 | bedrock | us
global.anthropic.claude-haiku-4-5-20251001-v1:0    | claude-haiku-4-5 | bedrock | global
ca.anthropic.claude-haiku-4-5-20251001-v1:0        | claude-haiku-4-5 | bedrock | ca
anthropic.claude-haiku-4-5-20251001-v1:0           | claude-haiku-4-5 | bedrock | regional
amazon.titan-embed-text-v2:0                       | bedrock/amazon.titan-embed-text-v2:0 | bedrock | regional
arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-6 | claude-sonnet-4-6 | bedrock | us
arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-sonnet-4-6 | claude-sonnet-4-6 | bedrock | global
arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-sonnet-4-6 | claude-sonnet-4-6 | bedrock | eu-west-1
arn:aws:bedrock:us-east-1:1:application-inference-profile/abcd1234efgh  | | bedrock | us-east-1
bedrock/us-east-1/anthropic.claude-haiku-4-5-20251001-v1:0 | claude-haiku-4-5 | bedrock | us-east-1
bedrock/converse/us.anthropic.claude-haiku-4-5-20251001-v1:0 | claude-haiku-4-5 | bedrock | us
USE1-Claude4.6Sonnet-cache-write-1h-input-token-count | claude-sonnet-4-6 | bedrock | regional
USE1-Claude4.6Sonnet-output-tokens-flex            | claude-sonnet-4-6 | bedrock | regional | flex
USW2-anthropic.claude-opus-4-8-mantle-cache-read-tokens-global-standard | claude-opus-4-8 | bedrock | global
Claude Sonnet 4.6 (Amazon Bedrock Edition)         | claude-sonnet-4-6 | bedrock
projects/p/locations/europe-west4/publishers/anthropic/models/claude-sonnet-4-5@20250929 | claude-sonnet-4-5 | vertex | europe-west4
projects/p/locations/global/publishers/google/models/gemini-2.5-flash-001 | gemini-2.5-flash | vertex | global
projects/p/locations/us-east5/endpoints/123        | | vertex | us-east5
vertex_ai/claude-sonnet-4-6@default                | claude-sonnet-4-6 | vertex
vertex_ai/openai/gpt-oss-120b-maas                 | gpt-oss-120b | vertex
Gemini 2.5 Flash GA Text Input - Predictions       | gemini-2.5-flash
Gemini 2.5 Flash GA Thinking Text Output - Predictions | gemini-2.5-flash
gemini/gemini-2.5-flash                            | gemini-2.5-flash | google
azure/eu/gpt-4o                                    | gpt-4o | azure | eu
azure/gpt-4o-mini-2024-07-18                       | gpt-4o-mini | azure
GPT 5 outpt Glbl 1M Tokens                         | gpt-5 | azure | global
Azure OpenAI - GPT 5 Mini Inpt Glbl 1M Tokens      | gpt-5-mini | azure | global
gpt 4o 1120 cached Inp glbl Tokens                 | gpt-4o | azure | global
gpt 4o mini0718 BatchOutp Data Zone Tokens         | gpt-4o-mini | azure | data_zone
5.4 mini pp Inp Gl                                 | gpt-5.4-mini | azure | global | priority
5.6 luna ShortCo Cd Inp PP DZ 1M Tokens            | gpt-5.6-luna | azure | data_zone | priority
4.3 Cached Inp Glbl                                | grok-4.3 | azure | global
accounts/fireworks/models/deepseek-v4p1-flash      | deepseek-v4p1-flash | fireworks
accounts/acme/deployedModels/ours-1                | | fireworks
groq/llama-3.3-70b-versatile                       | llama-3.3-70b-versatile | groq
together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo | llama-3.3-70b-instruct-turbo | together
xai/grok-4.6                                       | grok-4.6 | x-ai
@cf/openai/gpt-oss-120b                            | gpt-oss-120b | cloudflare
databricks-gpt-oss-120b                            | gpt-oss-120b | databricks
""".strip().splitlines()


@pytest.mark.parametrize("line", SPELLINGS)
def test_a_spelling_names_model_platform_region_and_tier(line):
    spelling, *expected = (part.strip() or None for part in line.split("|"))
    assert resolved(spelling) == (*expected, *[None] * (4 - len(expected)))


@pytest.mark.parametrize(
    "name",
    [
        "my-o4-mini-dep",
        "gpt-4o-prod",
        "gpt-4o-2099-01-01",
        "claude-opus-9",
        "auto",
        "llama3:8b",
        "nightly-batch",
        "text-bison",
        "9.9 mini Inp Gl",
        "claude-haiku-4-5-turbo",
    ],
)
def test_what_is_unknown_stays_unknown(name):
    assert resolved(name).model_id is None


def test_own_ids_come_before_the_catalogue():
    assert resolved("prod-chat", frozenset(["prod-chat"])).model_id == "prod-chat"
    assert resolved("openai/Prod-Chat", frozenset(["prod-chat"])).model_id == "prod-chat"


def test_every_listed_model_has_a_key_of_its_own_and_its_id_resolves_to_it():
    rows = listed()
    keys = [(row.model_id, row.platform, row.region) for row in rows]
    assert len(rows) == len(set(keys)) == 2330
    second = [row for row in rows if row.model_id.startswith(f"{row.platform}/")]
    wrong = [
        row.model.id
        for row in rows
        if row not in second and resolved(row.model.id).model_id != row.model_id
    ]
    assert wrong == ["gemma-4-26b-a4b-it-maas"]  # sold under the name of the model it serves


def test_sellers_have_one_name_each():
    names = [
        "Amazon Bedrock",
        "aws.bedrock",
        "vertex_ai-anthropic_models",
        "gcp.vertex_ai",
        "azure.ai.openai",
        "x_ai",
    ]
    assert [platform_of(n) for n in names] == [
        "bedrock",
        "bedrock",
        "vertex",
        "vertex",
        "azure",
        "x-ai",
    ]
