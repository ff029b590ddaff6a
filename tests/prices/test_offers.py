"""What was bought: seller, region, tier and unit each at its own price, with every assumption flagged."""

import pandas as pd
import pytest

import tierlab as tl


def one(model, **columns):
    row = {"model_id": model, "uncached_input_tokens": 100_000, "output_tokens": 100} | columns
    return pd.DataFrame({name: [value] for name, value in row.items()})


HAIKU, GPT = 0.1005, 0.503  # 100,000 x 1 + 100 x 5, and 100,000 x 5 + 100 x 30, per million


@pytest.mark.parametrize(
    ("model", "columns", "usd", "flags"),
    [
        ("claude-haiku-4-5", {}, HAIKU, ""),
        ("us.anthropic.claude-haiku-4-5", {}, 1.1 * HAIKU, ""),
        ("global.anthropic.claude-haiku-4-5", {}, HAIKU, ""),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", {}, 1.1 * HAIKU, ""),
        ("claude-haiku-4-5", {"platform": "Amazon Bedrock"}, 1.1 * HAIKU, "assumed_region"),
        ("claude-haiku-4-5", {"platform": "bedrock", "region": "global"}, HAIKU, ""),
        ("claude-haiku-4-5", {"platform": "bedrock", "region": "eu-west-1"}, 1.1 * HAIKU, ""),
        (
            "claude-haiku-4-5",
            {"platform": "vertex", "region": "us-east5"},
            1.1 * HAIKU,
            "assumed_premium",
        ),
        ("claude-haiku-4-5", {"platform": "google", "region": "global"}, HAIKU, ""),
        ("claude-haiku-4-5", {"platform": "first_party"}, HAIKU, ""),
        ("claude-haiku-4-5", {"platform": "anthropic"}, HAIKU, ""),
        ("claude-haiku-4-5", {"platform": "some-proxy"}, HAIKU, "assumed_platform"),
        ("claude-haiku-4-5", {"region": "us"}, HAIKU, ""),  # older models know no inference_geo
        ("claude-opus-4-8", {"region": "us"}, 1.1 * 0.5025, "assumed_premium"),
        (
            "us.anthropic.claude-haiku-4-5",
            {"service_tier": "flex"},
            1.1 * HAIKU / 2,
            "assumed_premium",
        ),
        ("us.anthropic.claude-haiku-4-5", {"batch": True}, 1.1 * HAIKU / 2, "assumed_batch_rate"),
        ("claude-haiku-4-5", {"service_tier": "batch"}, HAIKU / 2, ""),
        ("gpt-5.5", {"service_tier": "default"}, GPT, ""),
        ("gpt-5.5", {"service_tier": "priority"}, 2.5 * GPT, ""),
        ("gpt-5.5", {"service_tier": "fast"}, 2.5 * GPT, ""),
        ("gpt-5.5", {"service_tier": "auto"}, GPT, "assumed_service_tier"),
        ("gpt-5.5", {"platform": "azure", "region": "global"}, GPT, ""),
        ("gpt-5.5", {"platform": "azure", "region": "data_zone"}, 1.1 * GPT, "assumed_premium"),
        ("gpt-6-astra", {"service_tier": "ultrafast"}, 6 * 1.005, "assumed_premium"),
        (
            "gpt-5.5-pro",
            {"uncached_input_tokens": 300_000, "batch": True},
            4.509,
            "unstepped_batch_rate",
        ),
        ("groq/openai/gpt-oss-120b", {}, 0.01506, ""),
        ("deepseek/deepseek-r1:free", {}, 0, ""),
        ("deepseek-v4-pro", {}, 0.132396, "assumed_peak_hours"),
        ("mistral-large-latest", {}, 0.2 + 0.0006, "approximate_price"),
        ("sonar", {}, 0.1001 + 0.012, "approximate_price"),
    ],
)
def test_each_seller_region_and_tier_has_its_price(maintained, model, columns, usd, flags):
    priced = tl.price(one(model, **columns), maintained).iloc[0]
    assert priced["cost_usd"] == pytest.approx(usd)
    assert priced["flags"] == flags
    if flags:
        with pytest.raises(ValueError, match=flags):
            tl.price(one(model, **columns), maintained, strict=True)


def test_what_other_rows_say_makes_silence_an_assumption(maintained):
    both = pd.concat(
        [
            one("claude-opus-4-8", platform="vertex", region="global", service_tier="standard"),
            one("claude-opus-4-8", platform=None, region=None, service_tier=None),
        ]
    )
    assert tl.price(both, maintained)["flags"].tolist() == [
        "",
        "assumed_platform;assumed_service_tier",
    ]
    silent = both.assign(platform=None, region=None, service_tier=None)
    assert tl.price(silent, maintained)["flags"].tolist() == ["", ""]


def test_deepseeks_hours_are_those_of_the_row(maintained):
    """0.66 off peak, twice as much from 1 to 4 and from 6 to 10 o'clock UTC."""
    day = pd.Timestamp("2026-11-02")
    rows = pd.concat(
        [one("deepseek-v4-pro", at=day + pd.Timedelta(hours=h)) for h in (0, 1, 3.9, 4, 6, 10)]
    )
    priced = tl.price(rows, maintained, price_on="at")
    high = priced["cost_usd"].max()
    assert (priced["cost_usd"] / high).round(3).tolist() == [0.5, 1, 1, 0.5, 1, 0.5]
    assert set(priced["flags"]) == {""}


def test_a_host_is_named_where_the_maker_does_not_sell(maintained):
    with pytest.raises(ValueError, match=r"'qwen3-32b' is sold by .*groq.*and not by its maker"):
        tl.price(one("qwen3-32b"), maintained)
    for weights in ("gpt-oss-120b", "gpt-oss-20b", "gpt-oss-safeguard-20b"):
        with pytest.raises(ValueError, match=f"'{weights}' .*groq"):
            tl.price(one(weights), maintained)
    with pytest.raises(ValueError, match="has no price on platform 'anthropic'; it is sold by"):
        tl.price(one("qwen3-32b", platform="anthropic"), maintained)


def test_images_audio_and_searches_have_their_own_rates(maintained):
    """1.00 per million audio tokens on Gemini 2.5 Flash, 30 per million image tokens, 14 or 10 per 1,000 searches."""
    rows = pd.DataFrame(
        {
            "model_id": ["gemini-2.5-flash", "gemini-2.5-flash-image", "gpt-image-2", "gpt-6-luna"],
            "uncached_input_tokens": 0,
            "output_tokens": 0,
            "unit": [
                "input_audio_tokens",
                "output_image_tokens",
                "output_image_tokens",
                "web_searches",
            ],
            "quantity": [100_000, 1_290, 1_000, 3],
        }
    )
    priced = tl.price(rows, maintained)
    assert priced["other_usd"].tolist() == pytest.approx([0.10, 0.0387, 0.03, 0.03])
    assert priced["cost_usd"].tolist() == pytest.approx(priced["other_usd"].tolist())
    with pytest.raises(
        ValueError, match=r"unknown unit 'web_search'; did you mean 'web_searches'.*row 0"
    ):
        tl.price(one("gpt-6-luna", unit="web_search", quantity=1), maintained)
    with pytest.raises(ValueError, match=r"claude-2 has no rate for input_document_pages.*row 0"):
        tl.price(one("claude-2", unit="input_document_pages", quantity=1), maintained)
    with pytest.raises(ValueError, match="row 0, column 'quantity'"):
        tl.price(one("gpt-6-luna", unit="web_searches", quantity=None), maintained)
    with pytest.raises(ValueError, match="row 0, column 'quantity'"):
        tl.price(one("gpt-6-luna", unit="web_searches"), maintained)


def test_reprice_knows_the_seller_that_a_spelling_names(maintained):
    table = tl.reprice(one("x"), maintained, ["us.anthropic.claude-haiku-4-5", "claude-haiku-4-5"])
    assert table.iloc[0].to_dict() == pytest.approx(
        {"claude-haiku-4-5 on bedrock": 1.1 * HAIKU, "claude-haiku-4-5": HAIKU}
    )


def own_machines(utilisation=0.4, **columns):
    return tl.self_hosted(
        "ours",
        gpus=2,
        usd_per_gpu_hour=3.0,
        input_tokens_per_s=25_000,
        output_tokens_per_s=2_500,
        utilisation=utilisation,
        **columns,
    )


def test_a_model_of_ones_own_is_priced_like_any_other():
    """100 million tokens in and 10 million out take 5.556 paid hours at $6; at Groq they cost $21."""
    prices = tl.load_prices("maintained", extra=own_machines())
    load = one("ours", uncached_input_tokens=100 * 10**6, output_tokens=10 * 10**6, aggregate=True)
    assert tl.price(load, prices)["cost_usd"].tolist() == pytest.approx([6 * 8000 / 0.4 / 3600])
    repriced = tl.reprice(load, prices, ["ours", "groq/openai/gpt-oss-120b"])
    assert repriced.iloc[0].round(2).tolist() == [33.33, 21.00]
    break_even = tl.load_prices("maintained", extra=own_machines(6 * 8000 / 3600 / 21))  # at 63.5 %
    assert tl.price(load, break_even)["cost_usd"].tolist() == pytest.approx([21.00])
    tiered = tl.load_prices("maintained", extra=own_machines(tier="small", context_window=128_000))
    advice = tl.recommend(
        task="customer_support", error_cost_usd=0.5, prices=tiered, models=["ours", "gpt-6-luna"]
    )
    assert "ours" in str(advice)
    daily = tl.daily_cost(tl.Workload(requests_per_day=10), prices, models=["ours", "gpt-6-luna"])
    assert len(daily) == 2
    with pytest.raises(ValueError, match=r"utilisation is 1\.4"):
        tl.self_hosted(
            "x",
            gpus=1,
            usd_per_gpu_hour=1,
            input_tokens_per_s=1,
            output_tokens_per_s=1,
            utilisation=1.4,
        )


def test_extra_rows_replace_the_catalogues_and_aliases_name_a_deployment(tmp_path):
    text = "model_id,provider,platform,uncached_input,output\ngpt-5.5,openai,,4,20\ngpt-5.5,openai,azure,4.5,25\n"
    (tmp_path / "ours.csv").write_text(text)
    aliases = {
        "prod-chat": {"model": "gpt-5.5", "platform": "azure"},
        "cheap": "us.anthropic.claude-haiku-4-5",
    }
    prices = tl.load_prices("maintained", extra=tmp_path / "ours.csv", aliases=aliases)
    cost = [
        tl.price(one(name), prices)["cost_usd"].iloc[0]
        for name in ("gpt-5.5", "prod-chat", "cheap")
    ]
    assert cost == pytest.approx([0.402, 0.4525, 1.1 * HAIKU])
    assert prices.resolve("prod-chat") == "gpt-5.5"
    with pytest.raises(ValueError, match="did you mean 'gpt-4o'"):
        tl.load_prices("maintained", aliases={"x": "gpt-4-o"})


def test_the_table_written_to_a_file_loads_again(maintained, tmp_path):
    maintained.frame.to_csv(tmp_path / "prices.csv", index=False)
    again = tl.load_prices(tmp_path / "prices.csv")
    key = ["model_id", "valid_from", "context_above"]
    here, there = (p.frame.sort_values(key).reset_index(drop=True) for p in (maintained, again))
    pd.testing.assert_frame_equal(here, there, check_dtype=False)
    assert again.models() == maintained.models()


def test_each_rate_has_its_own_day_of_check(maintained):
    checked = maintained.by_model["checked_on"].dt.strftime("%Y-%m-%d")
    assert checked[["gpt-5.3", "claude-opus-5-5"]].tolist() == ["2026-05-07", "2026-11-23"]
    assert maintained.as_of == pd.Timestamp("2026-11-23")


def test_all_offers_of_a_model_are_listed_and_a_miss_names_the_nearest(maintained):
    table = maintained.offered("us.anthropic.claude-haiku-4-5")
    bedrock = table[table["platform"] == "bedrock"].set_index("region")
    assert bedrock["uncached_input"].to_dict() == pytest.approx({"global": 1.0, "regional": 1.1})
    assert {"anthropic", "openrouter", "vertex"} <= set(table["platform"])
    tiers = maintained.offered("gpt-5.5")
    assert {"standard", "flex", "priority"} <= set(tiers["service_tier"])
    assert tiers.query("service_tier == 'priority'")["context_above"].tolist() == [0]
    with pytest.raises(ValueError, match="did you mean 'claude-haiku-4-5'"):
        maintained.offered("claude-hiku-4-5")


def test_premiums_have_a_source_and_a_factor():
    rules = pd.read_csv(tl.paths.DATA / "premiums.csv")
    assert rules[["platform", "factor", "source", "checked_on"]].notna().all(axis=None)
    assert rules["factor"].between(0.4, 6).all()
