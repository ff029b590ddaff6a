"""A user's own table: CSV, Parquet or JSON lines with the columns of the requests table, or with a map to them.

What teams usually call these columns is known, so that a map can be proposed; it is used once the user has agreed to it.

Numbers may be written for people: "1.000" is 1 where a point is the decimal mark, and 1,000 where a comma is. The
column's other cells show which ("0,05", "12.5", "1.250.000"), or those of the table. If none does, nothing is guessed.
"""

import re
import warnings
from functools import cache, partial

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from tierlab.core.tables import REQUEST_COLUMNS, TOKEN_COLUMNS
from tierlab.core.untrusted import cited, shown
from tierlab.core.vocabulary import unknown
from tierlab.usage.columns import MONEY, buckets, money
from tierlab.usage.reader import Reader
from tierlab.usage.sheet import Sheet, iso_times

OURS = (*REQUEST_COLUMNS, "input_tokens", "total_tokens", "request_id")
_TRUE, _FALSE = ("true", "1", "yes", "t", "1.0"), ("false", "0", "no", "f", "0.0")
_MARKS = (
    ("model_id", "uncached_input_tokens", "output_tokens"),
    ("model_id", "input_tokens", "output_tokens"),
)
_NEEDED = (("model_id",), ("output_tokens",), ("uncached_input_tokens", "input_tokens"))
_CACHED = ("cache_read_tokens", "cache_write_short_tokens", "cache_write_long_tokens")
_NUMBER_ENDS = ("_tokens", "_usd", "_s", "_id", "_ids")
_WHOLE = (
    "input_tokens",
    *TOKEN_COLUMNS,
    "reasoning_tokens",
    "total_tokens",
    "requests",
    "attempts",
    "context_above",
)
_NUMBERS = (*_WHOLE, "quantity", "billed_usd", "ttft_s", "end_to_end_s")
_WORDS = ("task", "user", "team", "platform", "region", "service_tier", "session_id", "unit")
# How the columns that a table may lack are read.
_OPTIONAL = (
    dict.fromkeys(_WORDS, Sheet.text)
    | dict.fromkeys(("ttft_s", "end_to_end_s"), Sheet.durations)
    | dict.fromkeys(("attempts", "context_above", "turn"), partial(Sheet.counts, missing=np.nan))
    | {
        "at": Sheet.times,
        "billed_usd": money,
        "requests": partial(Sheet.counts, missing=1),
        "source": Sheet.text,
        "quantity": Sheet.numbers,
        "prefix_ids": Sheet.cells,
    }
)
# What teams call our columns, the likeliest name first, in lower case and with underscores between words.
_GUESSES = {
    "at": "date time timestamp datetime day ts when created created_at start start_time request_time logged_at at_utc"
    " usage_date datum zeit zeitpunkt zeitstempel fecha data_hora 日付 日期 时间 時間",
    "model_id": "model model_name modelname llm llm_model engine deployment deployment_name model_used modell modelo"
    " modèle モデル 模型",
    "input_tokens": "prompt_tokens prompt input tokens_in in_tokens input_token_count prompt_token_count tokens_prompt"
    " tokens_input total_input_tokens prompttokens inputtokens eingabe_tokens eingabetoken",
    "output_tokens": "completion_tokens completion output tokens_out out_tokens output_token_count generated_tokens"
    " completion_token_count tokens_completion tokens_output total_output_tokens response_tokens candidates_tokens"
    " completiontokens outputtokens ausgabe_tokens ausgabetoken",
    "cache_read_tokens": "cached_tokens cached cache_read cached_input_tokens cache_read_input_tokens cache_hit_tokens"
    " tokens_cached cached_prompt_tokens cached_content_token_count cachedtokens",
    "cache_write_short_tokens": "cache_write cache_write_tokens cache_creation_input_tokens cache_creation_tokens",
    "total_tokens": "tokens_total total_token_count totaltokens",
    "reasoning_tokens": "reasoning thinking_tokens thoughts_tokens thoughts_token_count tokens_reasoning",
    "billed_usd": "cost cost_usd cost_in_usd usd spend spend_usd amount_usd total_cost total_cost_usd charge"
    " charged_usd billed kosten kosten_usd costo coste",
    "user": "user_id username user_name email e_mail employee benutzer utilisateur",
    "team": "team_name department project project_id cost_center cost_centre workspace abteilung",
    "task": "use_case usecase feature application app app_name purpose product",
    "requests": "calls request_count num_requests n_requests number_of_requests api_calls api_requests anfragen",
    "session_id": "session conversation conversation_id thread_id chat_id",
    "request_id": "id call_id uuid",
}
_CURRENCIES = (  # columns that say what the money is
    "currency",
    "currency_code",
    "billing_currency",
    "billed_currency",
    "cost_currency",
    "waehrung",
    "währung",
    "moneda",
    "devise",
)
_NAMES_USD = re.compile(r"usd|\$|dollar", re.IGNORECASE)
_NAMES_OTHER = re.compile(
    r"[€£¥₹]|(?<![a-z])(?:euros?|eur|gbp|chf|jpy|cny|inr|krw|brl|cad|aud|nzd|sgd|sek|nok|dkk|pln|czk)(?![a-z])",
    re.IGNORECASE,
)
_DOLLARS = ("usd", "$", "us$", "us dollar", "us dollars", "dollar", "dollars")
_SINGLE = ("request_id", "requests", "aggregate", "session_id", "status", "ttft_s", "end_to_end_s")
_FEW = 200  # cells of a column that are looked at before the rest
_GAPS = " '\u2019\u00a0\u2009\u202f"  # what groups digits beside a point and a comma
_WRITTEN = {
    decimal: rf"[+-]?(?:(?:[1-9]\d{{0,2}}(?:(?:[{group}]\d{{3}})+|(?:[{_GAPS}]\d{{3}})+)|\d+)(?:[{decimal}]\d*)?"
    rf"|(?:\d+(?:[{decimal}]\d*)?|[{decimal}]\d+)(?:[eE][+-]?\d+)?)"
    for decimal, group in (".,", ",.")
}


def guessed(header):
    """Return a map of a file's columns to ours, by what teams call them; of two columns of one kind the first counts.

    Examples
    --------
    >>> guessed(["Date", "Model Name", "Prompt Tokens", "completion_tokens", "Cost (USD)", "Region", "note"])
    {'Date': 'at', 'Model Name': 'model_id', 'Prompt Tokens': 'input_tokens', 'completion_tokens': 'output_tokens', 'Cost (USD)': 'billed_usd', 'Region': 'region'}
    """
    dollars = [name for name in header if not _NAMES_OTHER.search(str(name))]
    names = {_spelled(name): name for name in reversed(dollars)}
    found = {}
    for ours in OURS:
        known = (ours, *_GUESSES.get(ours, "").split())
        theirs = next((names[name] for name in known if name in names), None)
        if theirs is not None and theirs not in found:
            found[theirs] = ours
    return {name: found[name] for name in header if name in found}


def _spelled(name):
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name))
    return re.sub(r"[\W_]+", "_", words).strip("_").lower()


def plain(columns=None, cache_inside=None, reasoning_inside=True, date_format=None, decimal=None):
    """Return a reader of tables whose columns are ours, or become ours by a map.

    Its `check` returns the reader of one file, which knows how that file writes its numbers. Parameters are those of
    `tierlab.usage.read.read_usage`.

    Raises
    ------
    ValueError
        If the map leads to a column that is not ours (the nearest one is named), or the decimal mark is not one.
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal={decimal!r}; the decimal mark is '.' or ','")
    given = dict(columns or {})
    costs = next((name for name in given if given[name] == "billed_usd"), "usd")
    for ours in given.values():
        if ours not in OURS:
            raise ValueError("columns: " + unknown("column", ours, OURS))

    def check(first):
        _check_header(list(first.columns), given, cache_inside)
        if _NAMES_OTHER.search(costs) and not _NAMES_USD.search(costs):
            raise ValueError(
                f"{cited(costs, 60)} names another currency than USD: leave it unmapped, or convert it"
            )
        times = first.rename(columns=given).get("at")
        if times is not None and date_format is None:
            _check_times(times.head(_FEW))
        return reader_of(_check_numbers(first, given, decimal))

    def read(marks, sheet):
        sheet.rename(given)
        if date_format and "at" in sheet:
            _read_times(sheet, date_format)
        for name, written in marks:
            _read_numbers(sheet, name, written)
        _check_currency(sheet, costs)
        return _columns(sheet, cache_inside, reasoning_inside)

    @cache  # files that write their numbers alike share a reader, and so go through it together
    def reader_of(marks):
        fields = (tuple(given),) if given else ()
        return Reader("plain", (*fields, *_MARKS), partial(read, marks), check=check)

    return reader_of(())


def _check_header(header, columns, cache_inside):
    """Refuse a header that lacks a needed column or one that the map names, or has one that is nearly ours."""
    for theirs in columns:
        if theirs not in header:
            raise ValueError(
                f"columns names {theirs!r}, which the file lacks: {unknown('column', theirs, header)}"
            )
    ours = [columns.get(name, name) for name in header]
    left = [column for column in OURS if column not in ours]
    for name in ours:
        near = unknown("column", name, left)
        if name not in OURS and str(name).endswith(_NUMBER_ENDS) and "did you mean" in near:
            if name in guessed(header):  # teams use this name, perhaps not for the nearest of ours
                raise ValueError(f"unknown column {name!r}; {proposed(header)}")
            raise ValueError(f"{near} (or map it to another: columns={{...}})")
        if name in OURS and ours.count(name) > 1:
            raise ValueError(
                f"column {name!r} comes twice once the map is applied; there are {shown(ours)}"
            )
    for needed in _NEEDED:
        if not set(needed) & set(ours):
            raise ValueError(
                f"column {' or '.join(map(repr, needed))} is missing; {proposed(header)}"
            )
    if "uncached_input_tokens" not in ours and cache_inside is None and set(ours) & set(_CACHED):
        raise ValueError(
            "'input_tokens' is a provider's own counter: say cache_inside=True (OpenAI, Gemini) or "
            "cache_inside=False (Anthropic)"
        )


def proposed(header):
    """Return the columns of a header and, if their names suggest one, a map that would do."""
    found = {name: ours for name, ours in guessed(header).items() if name != ours}
    has = f"the file has {shown([shown(str(name), 40) for name in header], 600)}"
    if not all(set(needed) & {*found.values(), *header} for needed in _NEEDED):
        return f"{has}: map one to it with columns={{...}}"
    return f"{has}; by their names, columns={found!r} would do (tierlab.usage.read.guess_columns() takes that)"


def _check_times(column):
    """Refuse times that are not ISO, and name the formats that they may have."""
    cells = column.dropna().astype(str)
    cells = cells[cells != ""]
    if cells.empty or iso_times(cells).notna().any():
        return
    first = cells.iloc[0]
    with warnings.catch_warnings(action="ignore"):  # about a day that cannot be a month
        ways = [guess_datetime_format(first, dayfirst=dayfirst) for dayfirst in (True, False)]
    ways = [
        way
        for way in dict.fromkeys(ways)
        if way and pd.to_datetime(cells, format=way, errors="coerce").notna().all()
    ]
    if found := re.fullmatch(r"1\d{9}(\d{3})?(?:\.\d*)?", first):
        ways = ["ms" if found[1] else "s"]
    said = (
        " or ".join(f"date_format={way!r}" for way in ways) or "date_format='%d.%m.%Y' or the like"
    )
    raise ValueError(f"the time {cited(first, 40)} is not in ISO format: say {said}")


def _read_times(sheet, date_format):
    """Turn the column `at` into times; a cell of another format refuses its row."""
    cells, empty = sheet.cells("at"), sheet.empty("at")
    if date_format in ("s", "ms"):
        at = pd.to_datetime(
            pd.to_numeric(cells, errors="coerce"), unit=date_format, errors="coerce", utc=True
        )
    else:
        zoned = "%z" in date_format.lower()
        at = pd.to_datetime(cells, format=date_format, errors="coerce", utc=zoned)
    sheet.refuse(at.isna() & ~empty, "not a time of that format", "at")
    sheet.raw["at"] = at


def _check_numbers(first, found, decimal):
    """Return how a file writes its numbers, as (column, marks) pairs; a number in doubt refuses the file."""
    theirs = {found.get(name, name): name for name in first}
    texts = {
        ours: _amounts(first[theirs[ours]])
        for ours in _NUMBERS
        if ours in theirs and first[theirs[ours]].dtype == "str"
    }
    marks = marks_of(texts, _WHOLE, decimal)
    for name, cells in texts.items():
        doubt = with_point(cells, *marks[name])[1]
        if doubt.any():
            cell = cells[doubt].head(1)
            numbers = {mark: float(with_point(cell, mark)[0].item()) for mark in ".,"}
            ways = [f"{number:,.10g} with decimal={mark!r}" for mark, number in numbers.items()]
            raise ValueError(
                f"{cited(cell.item(), 40)} in the column {cited(theirs[name], 60)} can be read in two ways: it is {' and '.join(ways)}; "
                "say which"
            )
    return tuple(marks.items())


def _amounts(cells):
    if not cells.str.contains("[$DdUu]").any():
        return cells
    return cells.str.strip().str.lower().str.replace(MONEY, "", regex=True)


def _read_numbers(sheet, name, written):
    """Write the numbers of a column with a decimal point, and refuse those that are in doubt."""
    cells = sheet.raw.get(name)
    if cells is None or cells.dtype != "str":
        return
    amounts = _amounts(cells) if name == "billed_usd" else cells
    numbers, doubt = with_point(amounts, *written)
    sheet.refuse(doubt, "a number that can be read in two ways: say what the decimal mark is", name)
    sheet.raw[name] = cells.mask(numbers != amounts, numbers)


def _check_currency(sheet, heading):
    """Set rows aside whose currency column is not US dollars; note money whose currency nothing names."""
    if "billed_usd" not in sheet:
        return
    paid = ~sheet.empty("billed_usd")
    beside = [name for name in sheet.raw if _spelled(name) in _CURRENCIES]
    for name in beside:
        dollars = sheet.words(name).isin(_DOLLARS)
        sheet.refuse(paid & ~dollars, "a currency other than USD", name)
    if not beside and not _NAMES_USD.search(heading):
        bare = ~sheet.cells("billed_usd").astype("str").str.contains(
            "[$€£¥]|usd|eur|gbp", case=False
        )
        sheet.assume(
            paid & bare.fillna(True), f"{cited(heading, 60)} names no currency, taken as US dollars"
        )


def _whole_days(sheet):
    """Return the rows with a day but no time, in a table that shows no sign of single requests: sums of a day."""
    if "at" not in sheet or any(name in sheet for name in _SINGLE):
        return np.zeros(len(sheet), bool)
    cells = sheet.cells("at")
    if pd.api.types.is_datetime64_any_dtype(cells):
        days = cells.notna() & (cells.dropna() == cells.dropna().dt.normalize()).all()
    else:
        days = cells.notna() & ~cells.astype("str").str.contains(r"\d[T: ]\d", na=False)
    return days.to_numpy(bool) & ~sheet.empty("at")


def _columns(sheet, cache_inside, reasoning_inside):
    own = "uncached_input_tokens" in sheet
    read, write_short, write_long = (sheet.counts(name) for name in _CACHED)
    told = "reasoning_tokens" in sheet
    reasoning = sheet.counts("reasoning_tokens", np.nan) if told else None
    tokens = buckets(
        sheet,
        sheet.counts("uncached_input_tokens" if own else "input_tokens", missing=None),
        sheet.counts("output_tokens", missing=None),
        read=read,
        write_short=write_short,
        write_long=write_long,
        cache_inside=bool(cache_inside) and not own,
        reasoning=reasoning,
        reasoning_inside=reasoning_inside,
    )
    days = _whole_days(sheet)
    sheet.assume(days, "a day without a time, and no number of requests: taken as a sum of many")
    aggregate = _truth(sheet, "aggregate") | days
    found = {
        "model_id": sheet.models("model_id"),
        "batch": _truth(sheet, "batch"),
        "aggregate": aggregate,
        "requests": np.where(aggregate, np.nan, 1),
        "source": "billed" if "billed_usd" in sheet else "recorded",
        "key": sheet.identity("plain", "request_id"),
    }
    if "status" in sheet:
        status = sheet.text("status")
        found["status"] = np.where(pd.isna(status), "ok", status)
    if "total_tokens" in sheet:
        found["own_tokens"] = sheet.numbers("total_tokens")
    optional = {name: column(sheet, name) for name, column in _OPTIONAL.items() if name in sheet}
    return tokens | found | optional


def _truth(sheet, name):
    """Return a column of yes and no as booleans; an empty cell is no, anything else refuses the row."""
    words = sheet.cells(name).map(lambda cell: str(cell).strip().lower(), na_action="ignore")
    sheet.refuse(~sheet.empty(name) & ~words.isin(_TRUE + _FALSE), "neither true nor false", name)
    return words.isin(_TRUE).to_numpy(bool)


def marks_of(columns, counts, said=None):
    """Return how each column of text writes its numbers: by its own cells, else as the user said, else by the others.

    A count that has the decimal mark of the other columns ("2.500" tokens beside "0.05" dollars) stays in doubt: few
    people write counts with three decimals, and many group them.

    Parameters
    ----------
    columns : dict of str to Series of str
    counts : collection of str
        The columns that hold whole numbers.
    said : {".", ","}, optional
        The decimal mark that the user names.

    Returns
    -------
    dict of str to (str, str)
        The decimal mark ("." or ","; the other one groups thousands), and the marks that may be either: a number that
        has one of these and can be read in both ways is refused.

    Examples
    --------
    >>> dollars, tokens = pd.Series(["0,05", "1.250"], dtype="str"), pd.Series(["1.000"], dtype="str")
    >>> marks_of({"usd": dollars, "tokens": tokens}, ["tokens"])["usd"]
    (',', '')
    >>> marks_of({"tokens": tokens}, ["tokens"])
    {'tokens': ('.', '.')}
    """
    told = {name: _told(cells) for name, cells in columns.items()}
    others = "".join(sorted(set("".join(told.values()))))
    found = {}
    for name, own in told.items():
        if len(own) == 1 or (said and not own):
            found[name] = own or said, ""
        elif own or (len(others) != 1 and name not in counts):
            found[name] = ".", ".,"
        elif name in counts:
            decimal = others if len(others) == 1 else "."
            found[name] = decimal, decimal
        else:
            found[name] = others, ""
    return found


def _told(cells):
    """Return the decimal marks of those cells of a column that can be read in one way only."""
    point, comma = _readings(cells.str.strip())
    return "." * bool((point & ~comma).any()) + "," * bool((comma & ~point).any())


def _readings(cells):
    return [cells.str.fullmatch(_WRITTEN[mark], na=False).to_numpy(bool) for mark in ".,"]


def with_point(cells, decimal, doubted=""):
    """Write the numbers of a column with a decimal point and nothing between the digits; say which are in doubt.

    A cell that is not a number, or that has the other decimal mark where the column's mark is known, stays as it is.

    Parameters
    ----------
    cells : Series of str
    decimal, doubted : str
        As `marks_of` returns them.

    Returns
    -------
    cells : Series of str
    doubt : ndarray of bool

    Examples
    --------
    >>> cells = pd.Series(["1.000", "0,5", "1 234", "n/a"], dtype="str")
    >>> with_point(cells, ",")[0].tolist(), with_point(cells, ".", ".")[1].tolist()
    (['1000', '0.5', '1234', 'n/a'], [True, False, False, False])
    """
    doubt = np.zeros(len(cells), bool)
    if not cells.str.contains(f"[.,{_GAPS}]").any():
        return cells, doubt
    cells = cells.str.strip()
    point, comma = _readings(cells)
    if doubted:
        doubt = point & comma & cells.str.contains(f"[{doubted}]", na=False).to_numpy(bool)
    by_comma = comma & (decimal == "," or (bool(doubted) & ~point))
    by_point = point & ~by_comma & (decimal == "." or bool(doubted))
    grouped = cells.str.replace(f"[,{_GAPS}]", "", regex=True)
    turned = cells.str.replace(f"[.{_GAPS}]", "", regex=True).str.replace(",", ".", regex=False)
    return cells.mask(by_point, grouped).mask(by_comma, turned), doubt
