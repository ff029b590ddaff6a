"""Requests x prices -> US dollars by bucket, for whole tables at once.

The one place where a token becomes a dollar. What is wrong raises and names the row; what had to be assumed
comes back in `flags`.

A summed usage log at other rates: those of another day, of another model, or of the batch endpoint.

The table is `Cube.daily`. Sums carry no request lengths, so what a context step added is kept as the ratio that it
was to the rates below the step.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from tierlab.core.tables import (
    as_pandas,
    booleans,
    check_columns,
    one_of,
    plain,
    refuse,
    sums,
    times,
    token_counts,
)
from tierlab.core.vocabulary import BATCH_RATES, BUCKETS, TIERS
from tierlab.prices.catalog import SINCE_EVER, STALE_AFTER_DAYS, Prices
from tierlab.prices.offers import BIT, FLAGS, Offer, find_offer
from tierlab.prices.units import other_usd

COST_COLUMNS = ("uncached_input_usd", "cache_read_usd", "cache_write_usd", "output_usd", "cost_usd")
_BLOCK = 1 << 17  # rows per block: the working set of one block stays in the cache
_INPUT = BUCKETS[:4]


def price(
    requests: pd.DataFrame,
    prices: Prices,
    *,
    price_on: str = "as_of",
    strict: bool = False,
    aggregate_band: str = "base",
    residency: Mapping[str, float] | float | None = None,
) -> pd.DataFrame:
    """Price every request of a table, by bucket.

    A context step is a cliff: when the whole input (all four input buckets) is above the step, every token of
    the request pays the higher rate; at exactly the step it pays the lower.

    Parameters
    ----------
    requests : DataFrame
        The requests table. Needed: model_id, uncached_input_tokens, output_tokens. Absent cache columns mean
        no cached tokens, an absent `batch` means none. Reasoning tokens are inside output_tokens. A sum
        (`aggregate` true, or `requests` above 1) is priced in the band its `context_above` reports.
        Used where they are there: platform, region, service_tier (what was bought, and where), unit and quantity
        (what is no text token; a usage key of genai-prices such as input_audio_tokens or web_searches).
    prices : Prices
        From `tierlab.load_prices`.
    price_on : {"as_of", "at"}
        The day whose rates apply: the catalogue's `as_of` for every row, or each row's own `at` (UTC).
    strict : bool
        Raise where a flag would be set.
    aggregate_band : {"base", "highest"}
        Context step of sums that report none: the base rate (flagged), or the highest step, which
        bounds the cost from above (flagged as well).
    residency : mapping of str to float, optional
        Multiplier per `region` (1.1 for inference kept in the US, as Anthropic and OpenAI charge it), in place
        of the catalogue's own rates and rules by region. Every region of the table must be named.

    Returns
    -------
    DataFrame
        Index of `requests`; uncached_input_usd, cache_read_usd, cache_write_usd, output_usd, cost_usd (US
        dollars) and flags: the names of what was assumed, joined by ";", "" for nothing. Where there are units or
        fees per request, other_usd is a part of cost_usd.

    Raises
    ------
    ValueError
        For a misspelt column or option, an unknown model, a count that is negative, fractional or missing,
        more reasoning than output tokens, or tokens in a bucket for which the model has no rate.

    Examples
    --------
    >>> import pandas as pd, tierlab as tl
    >>> table = pd.DataFrame({"model_id": ["claude-opus-4-8"], "uncached_input_tokens": 500, "output_tokens": 300})
    >>> float(tl.price(table, tl.load_prices("article"))["cost_usd"].iloc[0])
    0.01
    """
    one_of("price_on", price_on, ("as_of", "at"))
    one_of("aggregate_band", aggregate_band, ("base", "highest"))
    requests = as_pandas(requests, "requests")
    check_columns(requests)
    tokens = token_counts(requests)
    at = times(requests) if price_on == "at" else None
    code, offers = _offers(requests, prices, at, residency is None)
    book = rate_book(prices, offers, at)
    batch = booleans(requests, "batch")
    if "service_tier" in requests:  # Anthropic's word for the batch endpoint
        by_tier = requests["service_tier"].astype(object).eq("batch").to_numpy(bool)
        batch = by_tier if batch is None else batch | by_tier
    job = _Job(
        book,
        code,
        at,
        batch,
        tokens,
        _bands(requests, aggregate_band),
        _multipliers(requests, residency),
    )
    costs, flags = _run(job, len(requests), requests)
    table = pd.DataFrame(costs.T, columns=list(COST_COLUMNS), index=requests.index, copy=False)
    if (other := other_usd(requests, prices, offers, code, at, batch)) is not None:
        table["other_usd"] = other
        table["cost_usd"] += other
    table["flags"] = flag_names(flags)
    if strict and flags.any():
        found = table.loc[flags > 0, "flags"].value_counts()
        first = requests.index[np.flatnonzero(flags)[0]]
        raise ValueError(
            f"{int((flags > 0).sum()):,} rows carry flags, first row {plain(first)!r}: {found[found > 0].to_dict()}"
        )
    return table


def reprice(
    requests: pd.DataFrame,
    prices: Prices,
    models: Iterable[str],
    *,
    token_ratio: Mapping[str, float] | None = None,
    over_window: str = "raise",
) -> pd.DataFrame:
    """What the same requests would cost on other models, at the rates of `prices.as_of`.

    Parameters
    ----------
    requests : DataFrame
        The requests table; its own model_id is not used.
    prices : Prices
    models : sequence of str
        Model names in any spelling; one that names a seller (``us.anthropic.claude-haiku-4-5``,
        ``groq/llama-3.3-70b-versatile``) is priced there, in a column "model on seller".
    token_ratio : mapping of str to float, optional
        Tokens on that model per token in the table, because tokenizers differ (measured median 1.25 for
        Claude against Gemini on the same 809 prompts, 5th to 95th percentile 1.06 to 1.70). Without it the
        counts are taken over as they are.
    over_window : {"raise", "price"}
        What to do with an input longer than a model's context window.

    Returns
    -------
    DataFrame
        One column of US dollars per model, index of `requests`. What was assumed for a model stands in
        ``attrs["flags"]``: model id -> names of flags; a model that is not there needed no assumption.

    Examples
    --------
    >>> import pandas as pd, tierlab as tl
    >>> table = pd.DataFrame({"uncached_input_tokens": [500], "output_tokens": [300]})
    >>> tl.reprice(table, tl.load_prices("article"), ["claude-haiku-4-5"]).round(6).to_dict("list")
    {'claude-haiku-4-5': [0.002]}
    """
    one_of("over_window", over_window, ("raise", "price"))
    requests = as_pandas(requests, "requests")
    check_columns(requests, needed=("uncached_input_tokens", "output_tokens"))
    offers = {offer.name: offer for offer in (find_offer(prices, name) for name in models)}
    names = list(offers)
    ratios = {find_offer(prices, name).name: ratio for name, ratio in (token_ratio or {}).items()}
    for name, ratio in ratios.items():
        if name not in names:
            raise ValueError(f"token_ratio names {name!r}, which is not among the models {names}")
        if not (np.isfinite(ratio) and ratio > 0):
            raise ValueError(f"token_ratio of {name!r} is {ratio!r}; a ratio is a number above 0")
    tokens = token_counts(requests)
    batch, bands = booleans(requests, "batch"), _bands(requests, "base")
    result, assumed = {}, {}
    for name in names:
        scaled = {b: t * ratios[name] for b, t in tokens.items()} if name in ratios else tokens
        costs, flags = price_tokens(
            scaled, prices, offers[name], batch=batch, bands=bands, requests=requests
        )
        over = (flags & BIT["over_window"]) > 0
        if over_window == "raise":
            refuse(
                requests, "uncached_input_tokens", over, f"input longer than the window of {name}"
            )
        result[name] = costs[4]
        if flags.any():
            assumed[name] = flag_names(np.bitwise_or.reduce(flags, keepdims=True))[0]
    table = pd.DataFrame(result, index=requests.index)
    table.attrs["flags"] = assumed
    return table


def price_tokens(tokens, prices, model_id, *, batch=None, bands=None, requests=None):
    """Price token counts, which may be fractions (an expectation), on one model at the rates of `prices.as_of`.

    Parameters
    ----------
    tokens : dict of str to ndarray
        Bucket name -> tokens, shape (n,).
    prices : Prices
    model_id : str or Offer
    batch : ndarray of bool, shape (n,), optional

    Returns
    -------
    costs : ndarray, shape (5, n)
        US dollars, in the order of `COST_COLUMNS`.
    flags : ndarray of uint16, shape (n,)
        Bits of `FLAGS`; `flag_names` turns them into words.
    """
    n = len(tokens["output"])
    job = _Job(_model_book(prices, model_id), np.zeros(n, "int8"), None, batch, tokens, bands, None)
    return _run(job, n, pd.DataFrame(index=range(n)) if requests is None else requests)


@dataclass(frozen=True, eq=False)
class Tariff:
    """What one request to one model costs, fast enough to be asked after every answer.

    `tierlab.price` asks a whole table at once; the two agree (a test compares them).

    Attributes
    ----------
    above : ndarray
        Context lengths from which on (exclusive) each row of rates holds, ascending.
    rates : ndarray, shape (rows, 5)
        USD per token by bucket; NaN where the catalogue has none.
    flags : str
        What is assumed in these rates.
    usd_per_hour : float
        Price of the machine, for the time that an answer takes.
    """

    above: np.ndarray
    rates: np.ndarray
    flags: str = ""
    usd_per_hour: float = 0.0

    def cost(self, tokens, seconds=0.0):
        """US dollars for the five buckets of one request and the time it took.

        Examples
        --------
        >>> import tierlab as tl
        >>> opus = tariff(tl.load_prices("article"), "claude-opus-4-8")
        >>> opus.cost({"uncached_input_tokens": 500, "output_tokens": 300})
        0.01
        """
        counts = [tokens.get(f"{bucket}_tokens", 0) for bucket in BUCKETS]
        row = self.rates[max(0, bisect_left(self.above, sum(counts[:4])) - 1)].tolist()
        return (
            sum(rate * n for rate, n in zip(row, counts, strict=True) if n > 0)
            + seconds * self.usd_per_hour / 3600
        )

    def most(self, input_tokens, output_tokens, seconds=0.0):
        """The most that so many tokens can cost (US dollars), whichever input bucket they fall into."""
        of_input, of_output = self._highest
        return (
            of_input * input_tokens + of_output * output_tokens + seconds * self.usd_per_hour / 3600
        )

    @cached_property
    def _highest(self):
        return float(np.nanmax(self.rates[:, :4])), float(np.nanmax(self.rates[:, 4]))


def tariff(prices, name, *, batch=False, usd_per_mtok=None, usd_per_hour=0.0):
    """The rates of one model at `prices.as_of`.

    Parameters
    ----------
    prices : Prices
    name : str
    batch : bool
        The batch rates.
    usd_per_mtok : (float, float), optional
        Input and output rate of a model that the catalogue lacks; (0, 0) for a server of your own.
    usd_per_hour : float

    Returns
    -------
    Tariff

    Raises
    ------
    ValueError
        If the model is unknown and no rates are given, or has no batch rate.
    """
    if not usd_per_hour >= 0:
        raise ValueError(
            f"usd_per_hour of {name!r} is {usd_per_hour!r}; a price from 0 up is needed"
        )
    if usd_per_mtok is not None:
        if np.shape(usd_per_mtok) != (2,) or not (
            np.isfinite(usd_per_mtok).all() and min(usd_per_mtok) >= 0
        ):
            raise ValueError(
                f"usd_per_mtok of {name!r} is {usd_per_mtok!r}; give (input, output) in USD per million tokens"
            )
        rates = np.array([[usd_per_mtok[0]] * 4 + [usd_per_mtok[1]]]) / 1e6
        return Tariff(np.array([-1.0]), rates, "given_price", usd_per_hour)
    try:
        offer = find_offer(prices, name)
    except ValueError as error:
        raise ValueError(
            f"{error}; give its price: usd_per_mtok=(input, output), (0, 0) for a server of your own"
        ) from None
    model_id = offer.name
    rows = (
        prices.rates.take(offer.rows)
        if offer.rows[-1] >= len(prices.frame)
        else prices.frame.take(offer.rows)
    )
    rows = replace(prices, frame=rows).in_force().sort_values("context_above")
    rates = rows[list(BATCH_RATES if batch else BUCKETS)].to_numpy(float) * offer.factor / 1e6
    if np.isnan(rates[:, [0, 4]]).any():
        raise ValueError(
            f"model {model_id!r} has no {'batch ' if batch else ''}rate on {prices.as_of:%Y-%m-%d}; a rate is never guessed"
        )
    _, bits = price_tokens(
        {bucket: np.ones(1, int) for bucket in (BUCKETS[0], BUCKETS[4])},
        prices,
        offer,
        batch=np.array([batch]),
    )
    return Tariff(
        np.append(-1.0, rows["context_above"].to_numpy(float)[1:]),
        rates,
        flag_names(bits)[0],
        usd_per_hour,
    )


@dataclass(frozen=True)
class _Book:
    """Rates of the models in use as arrays: (model x time slot) -> rate row -> (batch or not) -> rates."""

    slots: np.ndarray  # starts of the time slots after the first, datetime64[us] as int64
    first: np.ndarray  # model * slot -> row * 2 of the base rate
    steps: np.ndarray  # model * slot x k -> context lengths above which the next row holds
    window: np.ndarray  # model * slot -> context window (tokens)
    flags: np.ndarray  # model * slot -> bits
    rates: np.ndarray  # bucket x (row * 2 + batch) -> USD per token, 0 where there is none
    missing: np.ndarray  # the same -> whether there is none
    row_flags: np.ndarray  # row * 2 + batch -> bits
    write_flag: np.ndarray  # row * 2 + batch -> bit to set when the row has cache writes
    names: list


@dataclass(frozen=True)
class _Job:
    book: _Book
    code: np.ndarray
    at: np.ndarray | None
    batch: np.ndarray | None
    tokens: dict
    bands: tuple | None  # (aggregate, band) per row
    multiplier: np.ndarray | None


def rate_book(prices, offers, at):
    """Arrays of the rates in force for some offers (or names), on `as_of` or, when `at` is given, in each time slot."""
    offers = [o if isinstance(o, Offer) else find_offer(prices, o) for o in offers]
    where = [np.array(offer.rows, "intp") for offer in offers]
    taken = np.concatenate([*where, []]).astype("intp")
    own = taken.max(initial=0) < len(prices.frame)
    frame = (prices.frame if own else prices.rates).take(taken)
    day = {
        c: frame[c].to_numpy("datetime64[us]")
        for c in ("valid_from", "launched_on", "retires_on", "checked_on")
    }
    ever = SINCE_EVER.to_datetime64()
    start = np.where(np.isnat(day["valid_from"]), ever, day["valid_from"])
    stale = prices.as_of.to_datetime64() - day["checked_on"] > np.timedelta64(STALE_AFTER_DAYS, "D")
    above, window = frame["context_above"].to_numpy(float), frame["context_window"].to_numpy(float)
    slots = np.array([prices.as_of], "datetime64[us]")
    if at is not None:
        edges = np.concatenate([day[c] for c in ("valid_from", "launched_on", "retires_on")])
        slots = np.unique(np.append(edges[~np.isnat(edges)], ever))
    ends = np.cumsum([len(rows) for rows in where])
    first, steps, windows, flags = [], [], [], []
    for offer, begin, end in zip(offers, [0, *ends], ends, strict=False):
        for slot in slots:
            starts = start[begin:end]
            held = begin + np.flatnonzero(
                starts == starts[starts <= slot].max(initial=starts.min())
            )
            first.append(2 * held[0])
            steps.append(above[held[1:]])
            windows.append(window[held[0]])
            early = slot < day["launched_on"][begin]
            bits = BIT["before_launch"] * early | BIT["before_first_price"] * (
                not early and slot < starts.min()
            )
            flags.append(
                bits
                | offer.flags
                | BIT["after_retirement"] * (slot >= day["retires_on"][begin])
                | BIT["stale_price"] * stale[held].all()
            )
    ladder = np.full((len(steps), max(map(len, steps), default=0)), np.inf)
    for line, lengths in zip(ladder, steps, strict=True):
        line[: len(lengths)] = lengths
    rates = (
        frame[[*BUCKETS, *BATCH_RATES]].to_numpy(float).reshape(len(frame) * 2, len(BUCKETS)).T
        / 1e6
    ) * np.repeat([offer.factor for offer in offers], [2 * len(rows) for rows in where])
    approximate = frame["approximate"].to_numpy() * BIT["approximate_price"]
    assumed = approximate | frame["batch_assumed"].to_numpy() * BIT["assumed_batch_rate"]
    assumed = (
        assumed | _unstepped(rates[0].reshape(-1, 2), start, above) * BIT["unstepped_batch_rate"]
    )
    return _Book(
        slots=slots[1:].astype("int64"),
        first=np.array(first, "intp"),
        steps=ladder,
        window=np.nan_to_num(np.array(windows), nan=np.inf),
        flags=np.array(flags, "uint16"),
        rates=np.ascontiguousarray(np.nan_to_num(rates)),
        missing=np.isnan(rates),
        row_flags=np.column_stack([approximate, assumed]).ravel().astype("uint16"),
        write_flag=np.repeat(
            frame["write_assumed"].to_numpy() * BIT["assumed_write_rate"], 2
        ).astype("uint16"),
        names=[offer.name for offer in offers],
    )


def _unstepped(rates, start, above):
    """Where the batch rate stays while the standard rate steps: input rates (standard, batch) of a row and of the one before."""
    before = np.vstack([rates[:1], rates[:-1]])
    stepped = (above > 0) & (start == np.append(start[:1], start[:-1]))
    return stepped & (rates[:, 0] != before[:, 0]) & (rates[:, 1] == before[:, 1])


@lru_cache(maxsize=512)
def _model_book(prices, model_id):
    """One model's rates on `as_of`: a control asks for them at each move."""
    return rate_book(prices, [model_id], None)


def _run(job, n, requests):
    """Costs (5 x n, USD) and flag bits (n), block by block on all cores: numpy frees the interpreter lock."""
    costs, flags = np.empty((5, n)), np.empty(n, "uint16")
    blocks = [slice(i, min(i + _BLOCK, n)) for i in range(0, n, _BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) if len(blocks) > 1 else nullcontext() as pool:
        for bad in (pool.map if pool else map)(
            lambda block: _price_block(job, block, costs, flags), blocks
        ):
            if bad:
                _explain(job, requests, *bad)
    return costs, flags


def _price_block(job, block, costs, flags):
    """Price one block of rows in place; returns (what, bucket, rows) of the first fault, if any."""
    book = job.book
    tokens = {bucket: column[block] for bucket, column in job.tokens.items()}
    for bucket, column in tokens.items():
        if column.min(initial=0) < 0:
            return "negative", bucket, block.start + np.flatnonzero(column < 0)
    key = job.code[block].astype("intp")
    if job.at is not None:
        key *= len(book.slots) + 1
        key += np.searchsorted(book.slots, job.at[block], side="right")
    total = sum(column for bucket, column in tokens.items() if bucket != "output")
    bits = _take(book.flags, key) if book.flags.any() else np.zeros(len(key), "uint16")
    over = None
    if total.max(initial=0) > book.window.min():
        over = total > _take(book.window, key)
    if job.bands is not None:
        aggregate, band, unreported = (column[block] for column in job.bands)
        stepped = np.isfinite(book.steps).any(axis=1)[key]
        bits |= np.where(aggregate & stepped & unreported, BIT["aggregate_without_band"], 0).astype(
            "uint16"
        )
        over = None if over is None else over & ~aggregate
        total = np.where(aggregate, band, total)
    row = _take(book.first, key)
    for step in book.steps.T:
        row += (total > _take(step, key)).view("int8") * 2
    if job.batch is not None:
        row += job.batch[block].view("int8")
    for index, bucket in enumerate(BUCKETS):
        if bucket in tokens and book.missing[index].any():
            bad = _take(book.missing[index], row) & (tokens[bucket] > 0)
            if bad.any():
                return "missing", bucket, block.start + np.flatnonzero(bad)
    _fill(job, block, costs[:, block], tokens, row)
    if book.row_flags.any():
        bits |= _take(book.row_flags, row)
    if over is not None:
        bits |= over.astype("uint16") << FLAGS.index("over_window")
    written = [tokens[bucket] for bucket in _INPUT[2:] if bucket in tokens]
    if written and book.write_flag.any():
        bits |= _take(book.write_flag, row) * (sum(written[1:], written[0]) > 0)
    flags[block] = bits
    return None


def _fill(job, block, out, tokens, row):
    """Write the five cost columns of one block: tokens x rate, by bucket, and their sum."""
    for index, buckets in enumerate((BUCKETS[:1], BUCKETS[1:2], BUCKETS[2:4], BUCKETS[4:])):
        present = [bucket for bucket in buckets if bucket in tokens]
        if not present:
            out[index] = 0
        for number, bucket in enumerate(present):
            cost = _take(job.book.rates[BUCKETS.index(bucket)], row)
            np.multiply(cost, tokens[bucket], out=out[index] if number == 0 else cost)
            if number:
                out[index] += cost
    if job.multiplier is not None:
        out[:4] *= job.multiplier[block]
    np.add(out[0], out[3], out=out[4])
    out[4] += out[1]
    out[4] += out[2]


def _take(table, index):
    """`table[index]` for indices known to be in range, which spares the bounds check."""
    return np.take(table, index, mode="clip")


def _explain(job, requests, what, bucket, rows):
    if what == "negative":
        refuse(
            requests,
            f"{bucket}_tokens",
            np.isin(np.arange(len(requests)), rows),
            "a negative count",
        )
    name = job.book.names[job.code[rows[0]]]
    batch = job.batch is not None and job.batch[rows[0]]
    rate = f"{'batch rate' if batch else 'rate'} for {bucket}"
    when = "" if job.at is None else f" on {pd.Timestamp(job.at[rows[0]], unit='us'):%Y-%m-%d}"
    raise ValueError(
        f"model {name!r} has no {rate}{when}, and the table has such tokens from row {plain(requests.index[rows[0]])!r} on; "
        "a rate is never guessed: add it to a prices file, or set the rows aside"
    )


def _offers(requests, prices, at, by_region):
    """Codes (int) of each row's offer and the offers they stand for; each distinct spelling is looked up once."""
    codes, spelt = _factorized(requests["model_id"])
    if codes.min(initial=0) < 0:
        refuse(requests, "model_id", codes < 0, "a missing model")
    columns = ("platform", "region", "service_tier") if by_region else ("platform", "service_tier")
    told = {c: _factorized(requests[c]) for c in columns if c in requests}
    told = {c: (code, names) for c, (code, names) in told.items() if (code >= 0).any()}
    distinct = range(len(spelt))
    if told:
        key = codes.astype("int64")
        for code, names in told.values():
            key = key * (len(names) + 1) + code + 1
        codes, distinct = pd.factorize(key)
    offers = []
    for code, key in enumerate(distinct):
        said = {}
        for column, (_, names) in reversed(told.items()):
            key, place = divmod(int(key), len(names) + 1)
            said[column] = names[place - 1] if place else None
        try:
            offers.append(find_offer(prices, spelt[key], **said, told=tuple(told)))
        except ValueError as error:
            rows = np.flatnonzero(codes == code)
            if len(rows):
                raise ValueError(
                    f"{error} ({len(rows):,} rows, first row {plain(requests.index[rows[0]])!r}, column 'model_id')"
                ) from None
            offers.append(None)  # a category that no row uses
    if at is not None and any(offer and offer.hours for offer in offers):
        codes, offers = _by_hour(codes, offers, at)
    unique = [offer for offer in dict.fromkeys(offers) if offer is not None]
    if unique == offers:
        return codes, unique
    place = {offer: number for number, offer in enumerate(unique)}
    return np.array([place.get(offer, 0) for offer in offers], "int32")[codes], unique


def _factorized(column):
    """Codes of a column's values, -1 for a missing one, and the values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories
    return pd.factorize(column)


def _by_hour(codes, offers, at):
    """Rows outside the hours of a peak rate go to the rate of the other hours."""
    second, codes = at // 1_000_000 % 86_400, codes.copy()
    for number, offer in enumerate(list(offers)):
        if offer and offer.hours:
            flags = offer.flags & ~BIT["assumed_peak_hours"]
            offers[number] = offer._replace(flags=flags, hours=(), off_peak=())
            rows = np.flatnonzero(codes == number)
            peak = [(second[rows] >= start) & (second[rows] < end) for start, end in offer.hours]
            codes[rows[~np.any(peak, axis=0)]] = len(offers)
            offers.append(offers[number]._replace(rows=offer.off_peak))
    return codes, offers


def _bands(requests, aggregate_band):
    """(aggregate, whole input that decides the context step, band unknown) per row, or None without aggregates."""
    aggregate = sums(requests)
    if aggregate is None or not aggregate.any():
        return None
    reported = (
        requests["context_above"]
        if "context_above" in requests
        else pd.Series(np.nan, requests.index)
    )
    reported = reported.to_numpy(float, na_value=np.nan)
    unreported = np.isnan(reported)
    reported = np.where(
        unreported, 0.0 if aggregate_band == "base" else np.finfo(float).max, reported + 1
    )
    return aggregate, reported, unreported


def _multipliers(requests, residency):
    if residency is None:
        return None
    if "region" not in requests:
        raise ValueError("residency needs a column 'region'")
    factor = requests["region"].map(dict(residency)).to_numpy(float, na_value=np.nan)
    refuse(
        requests,
        "region",
        np.isnan(factor),
        f"a region without a multiplier (there are {sorted(residency)})",
    )
    return factor


def flag_names(flags):
    """Flag bits as a categorical of names joined by ";", "" for none."""
    ever = np.bitwise_or.reduce(flags, initial=0)
    if ever == 0:
        return pd.Categorical.from_codes(np.zeros(len(flags), "int8"), [""])
    if (
        ever in BIT.values() and not flags.all()
    ):  # one kind of flag, on some rows: the usual case needs no counting
        return pd.Categorical.from_codes(
            (flags > 0).view("int8"), ["", FLAGS[int(ever).bit_length() - 1]]
        )
    present = np.flatnonzero(np.bincount(flags))
    lookup = np.zeros(present[-1] + 1, "int16")
    lookup[present] = np.arange(len(present))
    text = [";".join(flag for flag, bit in BIT.items() if bits & bit) for bits in present]
    return pd.Categorical.from_codes(lookup[flags], text)


TIER_LABELS = (*reversed(TIERS), "reasoning", "other models")
PARTS = {
    "uncached_input_usd": ("uncached_input",),
    "cache_read_usd": ("cache_read",),
    "cache_write_usd": ("cache_write_short", "cache_write_long"),
    "output_usd": ("output",),
}


class Bought(NamedTuple):
    """Which rate priced a request, as any catalogue can find it: the key of a rate, and a seller's factor on it."""

    model_id: str
    platform: str
    region: str
    service_tier: str
    factor: float = 1.0


def bought(daily):
    """What each row of `Cube.daily` was bought as: a model at its maker's standard rate, where the table says no more."""
    return daily["offer"] if "offer" in daily else daily["model_id"].astype(object)


def rates_at(prices, model_ids, days, batch=False):
    """Rates below any context step, in US dollars per token.

    Parameters
    ----------
    prices : Prices
    model_ids : array_like of str or Bought
    days : array_like of datetime64, or one day
    batch : array_like of bool, or one

    Returns
    -------
    ndarray, shape (n, 5)
        In the order of `tierlab.BUCKETS`; NaN where the catalogue has none. Before a model's first rate, that rate.

    Examples
    --------
    >>> import tierlab as tl
    >>> terra = rates_at(tl.load_prices("maintained"), ["gpt-5.6-terra"] * 2, pd.to_datetime(["2026-07-29", "2026-07-30"]))
    >>> (terra[:, 0] * 1e6).round(2).tolist()
    [2.5, 2.0]
    """
    names, days = (
        pd.Series(model_ids, dtype=object).to_numpy(),
        np.broadcast_to(np.asarray(days, "datetime64[us]"), len(model_ids)),
    )
    frame = prices.rates if any(isinstance(name, Bought) for name in names) else prices.frame
    start = frame["valid_from"].fillna(SINCE_EVER).to_numpy("datetime64[us]")
    above, rates = (
        frame["context_above"].to_numpy(),
        frame[[*BUCKETS, *BATCH_RATES]].to_numpy(float) / 1e6,
    )
    table = np.full((len(names), 2 * len(BUCKETS)), np.nan)
    codes, unique = pd.factorize(names)
    for code, name in enumerate(unique):
        factor = 1.0
        if isinstance(name, Bought):
            factor = name.factor
            sold = prices.sellers[name.model_id][name.platform]
            rows = np.array(sold[name.region, name.service_tier], "intp")
        else:
            rows = prices.rows_of[prices.resolve(name)]
        rows = rows[np.lexsort((above[rows], start[rows]))]
        rows = rows[np.r_[True, start[rows][1:] != start[rows][:-1]]]
        places = np.flatnonzero(codes == code)
        table[places] = (
            factor
            * rates[
                rows[np.maximum(np.searchsorted(start[rows], days[places], side="right") - 1, 0)]
            ]
        )
    way = np.broadcast_to(np.asarray(batch, bool), len(names)).astype(int)
    return table.reshape(-1, 2, len(BUCKETS))[np.arange(len(names)), way]


def changes_of(prices, models, start, end):
    """`Prices.changes` of some models."""
    frame, ends = (table[table["model_id"].isin(models)] for table in (prices.frame, prices.ends))
    return replace(prices, frame=frame, ends=ends).changes(start, end)


def in_batch(daily):
    """Which rows went through a batch endpoint; none where the log does not say."""
    return (
        daily["batch"].fillna(False).to_numpy(bool)
        if "batch" in daily
        else np.zeros(len(daily), bool)
    )


def at_base(daily, rates):
    """US dollars of the rows' tokens at some rates: uncached input, cache reads, cache writes, output; shape (n, 4).

    A bucket without tokens costs nothing, whether there is a rate or not.
    """
    tokens = daily[[f"{bucket}_tokens" for bucket in BUCKETS]].to_numpy(float)
    usd = np.where(tokens > 0, tokens * rates, 0.0)
    return np.column_stack([usd[:, 0], usd[:, 1], usd[:, 2] + usd[:, 3], usd[:, 4]])


def repriced(daily, prices, on, *, batch=None, ahead=None):
    """The same tokens on the same models at the rates of another day.

    Parameters
    ----------
    daily : DataFrame
        `Cube.daily`, or rows of it.
    prices : Prices
    on : str, Timestamp or array of datetime64
        The day whose rates apply.
    batch : bool, optional
        True for the batch rates; by default each row keeps its way.
    ahead : Prices, optional
        Whose rates of the day `on` apply (`Prices.over` a horizon); by default those of `prices`.

    Returns
    -------
    Series
        US dollars, index of `daily`; NaN where a rate that the tokens need is not known on that day.

    Examples
    --------
    A fifth off gpt-5.6-terra on 2026-07-30:

    >>> import tierlab as tl
    >>> prices = tl.load_prices("maintained")
    >>> log = pd.DataFrame({"at": pd.to_datetime(["2026-07-29"]), "model_id": "gpt-5.6-terra",
    ...                     "uncached_input_tokens": 200_000, "output_tokens": 10_000})
    >>> daily = tl.build_cube(log, prices).daily
    >>> daily["cost_usd"].tolist(), repriced(daily, prices, "2026-07-30").round(9).tolist()
    ([0.65], [0.52])
    """
    parts = repriced_parts(daily, prices, on, batch=batch, ahead=ahead)
    return pd.Series(parts.sum(axis=1), index=daily.index) + daily.get("other_usd", 0.0)


def repriced_parts(daily, prices, on, *, batch=None, ahead=None):
    """`repriced` by part: an array of shape (n, 4), US dollars in the order of `PARTS`."""
    own = in_batch(daily)
    here = at_base(daily, rates_at(prices, bought(daily), daily["day"], own))
    there = at_base(
        daily, rates_at(ahead or prices, bought(daily), on, own if batch is None else batch)
    )
    paid = daily[list(PARTS)].to_numpy(float)
    return there * np.divide(paid, here, out=np.ones_like(paid), where=here > 0)


def on_model(daily, prices, model_id, on):
    """The same tokens on another model (US dollars), at its rates of a day below any context step."""
    return pd.Series(
        at_base(daily, rates_at(prices, [model_id] * len(daily), on, in_batch(daily))).sum(axis=1),
        daily.index,
    )


def tiers_of(prices, model_ids, days):
    """Tier of each model in the lineup of the day: one of `TIER_LABELS`.

    Before the first lineup the first counts. A model that has left the lineup keeps the tier it had in another.
    """
    known = prices.by_model
    labels = known["tier"].where(~known["reasoning_model"], "reasoning").fillna(TIER_LABELS[-1])
    result = (
        pd.Series(np.asarray(model_ids, object))
        .map(labels)
        .fillna(TIER_LABELS[-1])
        .to_numpy(object)
    )
    lineups = prices.lineups.sort_values("as_of", kind="stable")
    dates = lineups["as_of"].drop_duplicates().to_numpy("datetime64[us]")
    if len(dates) == 0:
        return result
    days = np.asarray(days, "datetime64[us]")
    place = np.maximum(np.searchsorted(dates, days, side="right") - 1, 0)
    for position, date in enumerate(dates):
        rows = lineups[lineups["as_of"] == date].set_index("model_id")
        names = rows["tier"].where(~rows["reasoning_model"].astype(bool), "reasoning")
        found = pd.Series(np.asarray(model_ids, object)).map(names.to_dict()).to_numpy(object)
        result = np.where((place == position) & pd.notna(found), found, result)
    return result


def labelled(values):
    """A dimension's values as text, "(none)" where the log has none."""
    return values.astype(object).where(values.notna(), "(none)").astype(str)
