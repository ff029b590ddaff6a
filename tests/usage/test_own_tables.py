"""The user's own table: its columns are proposed, its dates and money understood, and what is wrong is refused early."""

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


def test_a_guess_is_taken_only_when_asked_for(own):
    with pytest.raises(ValueError, match=r"columns=\{'Date': 'at', 'Model Name': 'model_id'"):
        tl.read_usage(own)
    guess = guess_columns(own)
    usage = tl.read_usage(own, columns=guess, cache_inside=True, date_format=FORMAT)
    told = usage.account.files["assumed"].item()
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
        ("tomorrow", "is not in ISO format"),
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
    usage = tl.read_usage(own, columns=guess_columns(own), cache_inside=True, date_format=FORMAT)
    assert len(usage.requests) == 3
    assert usage.quarantine["reason"].tolist() == ["not a time of that format"]


def test_euros_are_not_dollars(own):
    own.write_text(OWN.replace("$0.0066", "0.0066 €"))
    usage = tl.read_usage(own, columns=guess_columns(own), cache_inside=True, date_format=FORMAT)
    assert usage.quarantine["reason"].tolist() == ["a currency other than USD"]


def test_a_proposal_that_would_not_do_is_not_made(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("Date,Model Name,tokens\n2026-09-01,gpt-5.5,100\n")
    with pytest.raises(ValueError, match="map one to it") as error:
        tl.read_usage(file)
    assert "guess" not in str(error.value)


def test_a_wrong_log_is_refused_by_its_first_rows(own, tmp_path):
    with pytest.raises(ValueError, match=r"guess_columns\(\)"):
        check_usage(own)
    with pytest.raises(ValueError, match="say cache_inside=True"):
        check_usage(own, columns=guess_columns(own), date_format=FORMAT)
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


def read(tmp_path, header, *rows, **options):
    file = tmp_path / "own.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return tl.read_usage(file, **options)


SEMICOLONS = "model_id;input_tokens;output_tokens;billed_usd;ttft_s"


@pytest.mark.parametrize(
    ("rows", "tokens", "usd"),
    [
        # The dollars have decimal commas: a point groups.
        (["gpt-5.5;1.000;2.500;0,05;0,4", "gpt-5.5;12;1;1.250,75;1,250"], 1000, [0.05, 1250.75]),
        (["gpt-5.5;1.234.567;1;1,5;", "gpt-5.5;1.000;1;1.500;"], 1_234_567, [1.5, 1500]),
        (["gpt-5.5;1 000;1;0,012;", "gpt-5.5;1;1;1 234,5;"], 1000, [0.012, 1234.5]),
        (["gpt-5.5;1\u00a0000;1;$0,012;", "gpt-5.5;1;1;1\u202f234,5;"], 1000, [0.012, 1234.5]),
        # Decimal points, and what may group beside them.
        (["gpt-5.5;1,000;1;1.250;", "gpt-5.5;1;1;0.5;"], 1000, [1.25, 0.5]),
        (["gpt-5.5;1'234;1;1,234.5;", "gpt-5.5;1;1;$1,234;"], 1234, [1234.5, 1234]),
        (["gpt-5.5;1e3;1;1.5e-05;", "gpt-5.5;1;1;12.3456;"], 1000, [1.5e-05, 12.3456]),
        (["gpt-5.5;1000.000;1;0.5;", "gpt-5.5;1.000;1;2;"], 1000, [0.5, 2]),
    ],
)
def test_a_table_tells_how_it_writes_its_numbers(tmp_path, rows, tokens, usd):
    usage = read(tmp_path, SEMICOLONS, *rows)
    assert not len(usage.quarantine)
    assert usage.requests["uncached_input_tokens"][0] == tokens
    assert usage.requests["billed_usd"].tolist() == usd


def test_waiting_times_have_decimal_commas_too(tmp_path):
    rows = ["gpt-5.5;1;1;0,05;0,4", "gpt-5.5;1;1;1;1,250"]
    assert read(tmp_path, SEMICOLONS, *rows).requests["ttft_s"].tolist() == [0.4, 1.25]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "gpt-5.5;1.000;2.500;;",
            r"'1.000' in the column 'input_tokens' .* 1 with decimal='.' and",
        ),
        ("gpt-5.5;2.500;2.500;0.05;", "2.5 with decimal='.' and 2,500 with decimal=','"),
        ("gpt-5.5;10;2;1.250;", "'1.250' in the column 'billed_usd'"),
        ("gpt-5.5;10;2;1,250;", "1,250 with decimal='.' and 1.25 with decimal=','"),
        ("gpt-5.5;10;2;1;1.250", "'1.250' in the column 'ttft_s'"),
    ],
)
def test_a_table_that_does_not_tell_is_refused_and_says_how_to_tell(tmp_path, row, said):
    with pytest.raises(ValueError, match=said):
        read(tmp_path, SEMICOLONS, row)


def test_what_was_said_of_the_decimal_mark_decides(tmp_path):
    row = "gpt-5.5;1.000;2.000;1,250;"
    german = read(tmp_path, SEMICOLONS, row, decimal=",").requests.iloc[0]
    assert (german["uncached_input_tokens"], german["billed_usd"]) == (1000, 1.25)
    english = read(tmp_path, SEMICOLONS, row, decimal=".").requests.iloc[0]
    assert (english["uncached_input_tokens"], english["billed_usd"]) == (1, 1250)
    with pytest.raises(ValueError, match="decimal=';'"):
        read(tmp_path, SEMICOLONS, row, decimal=";")


def test_a_number_in_doubt_after_the_first_rows_is_set_aside_by_name(tmp_path):
    rows = ["gpt-5.5;10;2;;"] * 300 + ["gpt-5.5;1.000;2;;", "gpt-5.5;1.234.567;2;;"]
    usage = read(tmp_path, SEMICOLONS, *rows)
    assert usage.quarantine[["line", "excerpt"]].to_numpy().tolist() == [
        [302, "input_tokens=1.000"]
    ]
    assert "what the decimal mark is" in usage.quarantine["reason"].item()
    assert usage.requests["uncached_input_tokens"].iloc[-1] == 1_234_567


@pytest.mark.parametrize("cell", ["12 %", "-", "n/a", "(1,234)", "1,23", "12,34,567", "1.5", "x"])
def test_what_is_no_count_is_never_one(tmp_path, cell):
    usage = read(tmp_path, SEMICOLONS, "gpt-5.5;10;2;0.5;", f"gpt-5.5;{cell};2;0.5;")
    assert len(usage.requests) == 1
    assert usage.quarantine["reason"].tolist() in (["not a number"], ["not a count from 0 up"])


def test_a_count_of_our_own_columns_with_three_decimals_is_in_doubt(tmp_path):
    rows = ["2026-09-01,gpt-5.5,1.000,1", "2026-09-01,gpt-5.5,1000.000,1", "2026-09-01,gpt-5.5,7,1"]
    file = tmp_path / "requests.csv"
    file.write_text("\n".join(["at,model_id,uncached_input_tokens,output_tokens", *rows]))
    cube = tl.build_cube(file, tl.load_prices("maintained"))
    aside = cube.account.set_aside
    assert cube.account.rows_priced == 2
    assert aside["reason"].tolist() == ["1.000 or 1,000 in uncached_input_tokens"]


def test_the_command_line_says_how_to_tell_the_decimal_mark(tmp_path, capsys):
    file = tmp_path / "own.csv"
    file.write_text(f"at;{SEMICOLONS}\n2026-09-01;gpt-5.5;1.000;2.500;;\n")
    arguments = ["quarter", "2026Q3", "--usage", str(file), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 2
    assert "1 with --decimal . and 1,000 with --decimal ,; say which" in capsys.readouterr().err
