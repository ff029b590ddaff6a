"""Times as tools and companies write them: each has one moment in UTC, worked out by hand."""

import json

import pandas as pd
import pytest

import tierlab as tl

HEAD = "at,model_id,uncached_input_tokens,output_tokens\n"


def times(tmp_path, *cells, **said):
    file = tmp_path / "own.csv"
    file.write_text(HEAD + "".join(f"{cell},gpt-5.5,1000,100\n" for cell in cells))
    return tl.read_usage(file, **said).requests


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize(
    "cell",
    [
        "2026-09-01 10:00:00+02",  # PostgreSQL
        "2026-09-01 10:00:00.000+02",
        "2026-09-01 10:00:00 +0200",
        "2026-09-01T04:00-04",
        "2026-09-01 08:00:00 UTC",  # BigQuery
        "2026-09-01 08:00:00.000000 UTC",
        "2026-09-01 08:00:00 +0000 UTC",  # Go
        "20260901T080000Z",
    ],
)
def test_a_time_that_names_its_zone_is_not_moved(tmp_path, cell, zone):
    found = times(tmp_path, cell, timezone=zone)
    assert found["at"].tolist() == [pd.Timestamp("2026-09-01 08:00")]
    assert not found["aggregate"].any()  # it has a time of day, so it is one request


def test_a_time_without_a_zone_beside_one_with_a_zone(tmp_path):
    found = times(tmp_path, "2026-09-01 10:00", "2026-09-01 08:00 UTC", timezone="Europe/Berlin")
    assert found["at"].tolist() == [pd.Timestamp("2026-09-01 08:00")] * 2


@pytest.mark.parametrize(
    ("cell", "date_format"),
    [
        ("1788249600", "s"),
        ("1788249600000", "ms"),
        ("01.09.2026 10:00", "%d.%m.%Y %H:%M"),  # in the zone that was said
        ("01.09.2026 11:00 +0300", "%d.%m.%Y %H:%M %z"),
        ("01.09.2026 08:00 UTC", "%d.%m.%Y %H:%M %Z"),
    ],
)
def test_times_of_a_format_and_a_zone(tmp_path, cell, date_format):
    found = times(tmp_path, cell, date_format=date_format, timezone="Europe/Berlin")
    assert found["at"].tolist() == [pd.Timestamp("2026-09-01 08:00")]


def test_times_of_a_parquet_file_in_a_zone(tmp_path):
    table = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-09-01 10:00"]),
            "model_id": "gpt-5.5",
            "uncached_input_tokens": 1000,
            "output_tokens": 100,
        }
    )
    for zone, hour in ((None, 8), ("UTC", 10), ("Asia/Tokyo", 1)):
        table.assign(at=table["at"].dt.tz_localize(zone)).to_parquet(tmp_path / "own.parquet")
        found = tl.read_usage(tmp_path / "own.parquet", timezone="Europe/Berlin").requests
        assert found["at"].tolist() == [pd.Timestamp(f"2026-09-01 {hour:02}:00")]


@pytest.mark.parametrize(
    ("first", "said"),
    [("1788249600.25", "'s'"), ("1788249600250.5", "'ms'"), ("1788249600250", "'ms'")],
)
def test_a_number_of_seconds_may_have_a_fraction(tmp_path, first, said):
    with pytest.raises(ValueError, match=f"say date_format={said}"):
        times(tmp_path, first)


def test_a_billing_export_as_bigquery_writes_it(tmp_path, maintained):
    sku = "Generate content input token count gemini 2.5 flash short input text"
    row = {
        "service": {"description": "Gemini API"},
        "sku": {"description": sku},
        "usage_start_time": "2026-09-01 07:00:00 UTC",
        "usage": {"amount": "1000000", "unit": "count"},
        "cost": "0.3",
        "currency": "USD",
        "credits": [],
        "labels": [],
    }
    (tmp_path / "bill.jsonl").write_text(json.dumps(row) + "\n")
    found = tl.read_usage(tmp_path / "bill.jsonl", timezone="Europe/Berlin").requests
    assert found["at"].tolist() == [pd.Timestamp("2026-09-01 07:00")]
    assert tl.price(found, maintained)["cost_usd"].sum() == pytest.approx(0.3)


def test_days_of_copilot_are_utc(tmp_path):
    head = "date,username,sku,unit_type,model,net_amount,gross_amount,input,output,cache_read,cache_write"
    row = "2026-11-10,u,copilot_ai_credit,ai-credits,Claude Sonnet 4.6,0.1,0.1,1500,2000,90000,8000"
    (tmp_path / "usage.csv").write_text(f"{head}\n{row}\n")
    found = tl.read_usage(tmp_path / "usage.csv", timezone="Europe/Berlin").requests
    assert found["at"].tolist() == [pd.Timestamp("2026-11-10")]
