"""A table of one's own: its columns proposed and taken, its dates and money understood, refused before the heavy work."""

import pandas as pd
import pytest

import tierlab as tl
from tierlab import cli
from tierlab.usage.formats.plain import guessed
from tierlab.usage.read import check_usage, guess_columns

OWN = """Date,Model Name,Prompt Tokens,Cached Tokens,Completion Tokens,Cost (USD),Équipe,Latency ms
03.09.2026 10:00,gpt-5.5,"1,200",200,50,$0.0066,a,900
04.09.2026 11:30,gpt-5.5,800,0,40,Included,b,700
05.09.2026 12:00,gpt-5.5,100,0,10,No Charge,b,100
"""
FORMAT = "%d.%m.%Y %H:%M"


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        (
            ["date", "model", "prompt_tokens", "completion_tokens", "cached_tokens", "cost"],
            ["at", "model_id", "input_tokens", "output_tokens", "cache_read_tokens", "billed_usd"],
        ),
        (["Timestamp", "modelName", "inputTokens"], ["at", "model_id", "input_tokens"]),
        (["Datum", "Modell", "Eingabe-Tokens"], ["at", "model_id", "input_tokens"]),
        (["日付", "モデル"], ["at", "model_id"]),
        # A text beside its count is not the count; of two times one is the time.
        (["prompt", "prompt_tokens", "time", "date"], [None, "input_tokens", None, "at"]),
        (["at", "tokens", "price", "notes"], ["at", None, None, None]),
    ],
)
def test_columns_are_known_by_what_teams_call_them(header, ours):
    assert [guessed(header).get(name) for name in header] == ours


def test_a_guess_is_taken_only_when_asked_for_and_is_told(own):
    with pytest.raises(ValueError, match=r"columns=\{'Date': 'at', 'Model Name': 'model_id'"):
        tl.read_usage(own)
    usage = tl.read_usage(own, columns="guessed", cache_inside=True, date_format=FORMAT)
    told = usage.account.files["assumed"].item()
    assert "columns guessed: 'Date' as at, 'Model Name' as model_id, 'Prompt Tokens'" in told
    assert "'Latency ms'" in told  # a number that nothing reads
    assert "'Prompt Tokens': " not in told
    requests = usage.requests
    assert requests["at"].tolist() == list(
        pd.to_datetime(["2026-09-03 10:00", "2026-09-04 11:30", "2026-09-05 12:00"])
    )
    assert requests["uncached_input_tokens"].tolist() == [1000, 800, 100]
    assert requests["billed_usd"].fillna(-1).tolist() == [0.0066, -1, 0]
    assert "included in a plan" in told


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("03.09.2026 10:00", r"date_format='%d\.%m\.%Y %H:%M'"),
        ("9/23/2026", "date_format='%m/%d/%Y'"),
        ("1788600000", "date_format='s'"),
        ("1788600000000", "date_format='ms'"),
        ("tomorrow", "is not as ISO writes it"),
    ],
)
def test_times_that_are_not_iso_name_their_format(tmp_path, first, said):
    file = tmp_path / "own.csv"
    file.write_text(f"at,model_id,input_tokens,output_tokens\n{first},gpt-5.5,10,1\n")
    with pytest.raises(ValueError, match=said):
        tl.read_usage(file)


def test_seconds_since_1970(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("at,model_id,input_tokens,output_tokens\n1788600000,gpt-5.5,10,1\n")
    found = tl.read_usage(file, date_format="s").requests
    assert found["at"].tolist() == [pd.Timestamp("2026-09-05 09:20")]


def test_a_time_of_another_format_sets_its_row_aside(own):
    own.write_text(OWN + "2026-09-06,gpt-5.5,1,0,1,0,b,1\n")
    usage = tl.read_usage(own, columns="guessed", cache_inside=True, date_format=FORMAT)
    assert len(usage.requests) == 3
    assert usage.quarantine["reason"].tolist() == ["not a time of that format"]


def test_euros_are_not_dollars(own):
    own.write_text(OWN.replace("$0.0066", "0.0066 €"))
    usage = tl.read_usage(own, columns="guessed", cache_inside=True, date_format=FORMAT)
    assert usage.quarantine["reason"].tolist() == ["a currency other than USD"]


def test_a_proposal_that_would_not_do_is_not_made(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("Date,Model Name,tokens\n2026-09-01,gpt-5.5,100\n")
    with pytest.raises(ValueError, match="map one to it") as error:
        tl.read_usage(file)
    assert "guessed" not in str(error.value)


def test_a_wrong_log_is_refused_by_its_first_rows(own, tmp_path):
    with pytest.raises(ValueError, match="columns='guessed'"):
        check_usage(own)
    with pytest.raises(ValueError, match="say cache_inside=True"):
        check_usage(own, columns="guessed", date_format=FORMAT)
    check_usage(own, columns=guess_columns(own), cache_inside=True, date_format=FORMAT)
    (tmp_path / "good.csv").write_text("model_id,input_tokens,output_tokens\ngpt-5.5,1,1\n")
    check_usage(tmp_path)  # one of them can be read


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--column Date at --column 'Model Name' model_id"),
        ([], "(--guess-columns takes that)"),
        (["--guess-columns"], "say --cache-inside yes (OpenAI, Gemini) or --cache-inside no"),
        (["--guess-columns", "--cache-inside", "yes"], "say --date-format '%d.%m.%Y %H:%M'"),
    ],
)
def test_the_command_line_speaks_its_own_words(own, tmp_path, capsys, options, said):
    arguments = ["quarter", "2026Q3", "--usage", str(own), "--out", str(tmp_path / "out"), *options]
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "columns=" not in told
    assert "cache_inside=" not in told
