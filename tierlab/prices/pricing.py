"""Price requests: US dollars by bucket, for whole tables at once.

This is the one place where a token becomes a dollar: everything that asks for a price or a rate reads the same
book of rates. What is wrong raises an error that names the row; what had to be assumed comes back in `flags`.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from tierlab.core.format import counted
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
from tierlab.core.vocabulary import BATCH_RATES, BUCKETS
from tierlab.prices.catalog import SINCE_EVER, STALE_AFTER_DAYS, Prices
from tierlab.prices.offers import BIT, FLAGS, Offer, find_offer, request_fees, unit_rate

PARTS = {  # columns of cost, and the buckets that each is for
    "uncached_input_usd": ("uncached_input",),
    "cache_read_usd": ("cache_read",),
    "cache_write_usd": ("cache_write_short", "cache_write_long"),
    "output_usd": ("output",),
}
COST_COLUMNS = (*PARTS, "cost_usd")
_BLOCK = 1 << 17  # rows per block, so that what one block needs stays in the processor's cache
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
        The requests table. It needs model_id, uncached_input_tokens and output_tokens. Without cache columns nothing
        was cached, and without `batch` nothing went through a batch endpoint. Reasoning tokens are inside
        output_tokens. A sum (`aggregate` true, or `requests` above 1) is priced in the band that its `context_above`
        reports. Optional columns are platform, region and service_tier (where and how the request was bought), and
        unit and quantity (anything other than text tokens; the unit is a usage key of genai-prices such as
        input_audio_tokens or web_searches).
    prices : Prices
        From `tierlab.load_prices`.
    price_on : {"as_of", "at"}
        The day whose rates apply: the catalogue's `as_of` for every row, or each row's own `at` (UTC).
    strict : bool
        Raise an error where a flag would be set.
    aggregate_band : {"base", "highest"}
        How to price a sum that reports no context step: at the base rate, or at the highest step, which
        bounds the cost from above. Both are flagged.
    residency : mapping of str to float, optional
        Multiplier for each `region` (Anthropic and OpenAI charge 1.1 for inference kept in the US), which replaces
        the catalogue's own rates and rules by region. Every region of the table must be named.

    Returns
    -------
    DataFrame
        uncached_input_usd, cache_read_usd, cache_write_usd, output_usd, cost_usd (US dollars) and flags (the names
        of what was assumed, joined by ";"; "" for nothing), with the index of `requests`. Where there are units or
        fees per request, other_usd is one more part of cost_usd.

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
    span = (prices.as_of, prices.as_of) if at is None or not len(at) else (at.min(), at.max())
    batch = booleans(requests, "batch")
    if "service_tier" in requests:  # Anthropic's word for the batch endpoint
        by_tier = requests["service_tier"].astype(object).eq("batch").to_numpy(bool)
        batch = by_tier if batch is None else batch | by_tier
    job = _Job(
        book=rate_book(prices, offers, *span),
        code=code,
        at=at,
        batch=batch,
        tokens=tokens,
        bands=_bands(requests, aggregate_band),
        multiplier=_multipliers(requests, residency),
    )
    costs, flags = _run(job, len(requests), requests)
    table = pd.DataFrame(costs.T, columns=list(COST_COLUMNS), index=requests.index, copy=False)
    if (other := _other_usd(requests, prices, offers, code, at, batch)) is not None:
        table["other_usd"] = other
        table["cost_usd"] += other
    table["flags"] = flag_names(flags)
    if strict and flags.any():
        found = table.loc[flags > 0, "flags"].value_counts()
        first = requests.index[np.flatnonzero(flags)[0]]
        raise ValueError(
            f"flags in {counted((flags > 0).sum(), 'row')}, first row {plain(first)!r}: {found[found > 0].to_dict()}"
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
    """Price the same requests on other models, at the rates of `prices.as_of`.

    Parameters
    ----------
    requests : DataFrame
        The requests table; its own model_id is not used.
    prices : Prices
    models : sequence of str
        Model names in any spelling. A name that names a seller as well (``us.anthropic.claude-haiku-4-5``,
        ``groq/llama-3.3-70b-versatile``) is priced at that seller, in a column "model on seller".
    token_ratio : mapping of str to float, optional
        Tokens on that model per token in the table, because tokenizers differ (the measured median for Claude
        against Gemini on the same 809 prompts is 1.25, the 5th to 95th percentile 1.06 to 1.70). By default the
        counts are used as they are.
    over_window : {"raise", "price"}
        What to do with an input longer than a model's context window.

    Returns
    -------
    DataFrame
        One column of US dollars per model, with the index of `requests`. ``attrs["flags"]`` has the names of the
        flags of each model for which something was assumed.

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
    """Price token counts on one model at the rates of `prices.as_of`.

    Parameters
    ----------
    tokens : dict of str to ndarray
        Bucket name -> tokens, shape (n,). They may be fractions, as an expectation is.
    prices : Prices
    model_id : str or Offer
    batch : ndarray of bool, shape (n,), optional
        By default no request goes through a batch endpoint.
    bands : tuple of ndarray, optional
        Of the rows that are sums: whether a row is one, the input that decides its context step, and whether it
        reports none.
    requests : DataFrame, optional
        The table that an error cites rows of.

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
    """The rates of one model, for the cost of single requests.

    A live router asks for a cost after every answer. `tierlab.price` gives the same numbers for a whole table.

    Attributes
    ----------
    above : ndarray
        Context lengths above which each row of rates holds, ascending.
    rates : ndarray, shape (rows, 5)
        USD per token by bucket; NaN where the catalogue has no rate.
    flags : str
        What is assumed in these rates.
    usd_per_hour : float
        Price of the machine in USD, charged for the time that an answer takes.
    """

    above: np.ndarray
    rates: np.ndarray
    flags: str = ""
    usd_per_hour: float = 0.0

    def cost(self, tokens, seconds=0.0):
        """Return the cost (US dollars) of one request: the tokens of its buckets and the seconds it took.

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
        """Return the most that these tokens can cost (US dollars), whichever input bucket they fall into."""
        of_input, of_output = np.nanmax(self.rates[:, :4]), np.nanmax(self.rates[:, 4])
        tokens_usd = of_input * input_tokens + of_output * output_tokens
        return float(tokens_usd + seconds * self.usd_per_hour / 3600)


def tariff(prices, name, *, batch=False, usd_per_mtok=None, usd_per_hour=0.0):
    """Return the rates of one model at `prices.as_of`.

    Parameters
    ----------
    prices : Prices
    name : str
        A model in any spelling.
    batch : bool
        Whether to take the batch rates.
    usd_per_mtok : (float, float), optional
        Input and output rate (USD per million tokens) of a model that the catalogue lacks; (0, 0) for a server of
        your own.
    usd_per_hour : float
        Price of the machine (USD), 0 or more.

    Returns
    -------
    Tariff

    Raises
    ------
    ValueError
        If the model is unknown and no rates are given, if it has no such rate, or if a given price is negative.
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
    book = _model_book(prices, offer)
    base, steps = book.first[0] + batch, book.steps[0]
    rates = book.known_rates(base + 2 * np.arange(len(steps) + 1))
    if np.isnan(rates[:, [0, 4]]).any():
        raise ValueError(
            f"model {offer.name!r} has no {'batch ' if batch else ''}rate on {prices.as_of:%Y-%m-%d}; a rate is never guessed"
        )
    flags = flag_names(book.flags[:1] | book.row_flags[base])[0]
    return Tariff(np.append(-1.0, steps), rates, flags, usd_per_hour)


@dataclass(frozen=True)
class _Book:
    """Rates of the offers in use as arrays: a key (offer x time slot) leads to a row, a row and batch to rates."""

    slots: np.ndarray  # starts of the time slots after the first, datetime64[us] as int64
    first: np.ndarray  # key -> row * 2 of the base rate
    steps: np.ndarray  # key x k -> context lengths above which the next row holds
    window: np.ndarray  # key -> context window (tokens)
    flags: np.ndarray  # key -> bits
    rates: np.ndarray  # bucket x (row * 2 + batch) -> USD per token, 0 where there is none
    missing: np.ndarray  # bucket x (row * 2 + batch) -> whether there is no rate
    row_flags: np.ndarray  # row * 2 + batch -> bits
    write_flag: np.ndarray  # row * 2 + batch -> bit to set when a request writes to a cache
    names: list  # of the offers

    def known_rates(self, row):
        """Return the rates (USD per token) in some columns of `rates`, NaN where there is none; shape (n, 5)."""
        return np.where(self.missing[:, row], np.nan, self.rates[:, row]).T


@dataclass(frozen=True)
class _Job:
    book: _Book
    code: np.ndarray  # place of each row's offer among those of the book
    at: np.ndarray | None  # microseconds since 1970, UTC
    batch: np.ndarray | None
    tokens: dict
    bands: tuple | None  # (aggregate, band) per row
    multiplier: np.ndarray | None


def rate_book(prices, offers, first_at, last_at):
    """Collect the rates of some offers from one time to another as arrays.

    Parameters
    ----------
    prices : Prices
    offers : list of Offer
    first_at, last_at : Timestamp, or int of microseconds since 1970
        Times between which the rates are needed, both included. A slot of time begins with `first_at` and at each
        later date on which a model is launched, is retired or changes its price.
    """
    where = [np.array(offer.rows, "intp") for offer in offers]
    taken = np.concatenate([*where, []]).astype("intp")
    own = taken.max(initial=0) < len(prices.frame)
    frame = (prices.frame if own else prices.rates).take(taken)
    day = {
        c: frame[c].to_numpy("datetime64[us]")
        for c in ("valid_from", "launched_on", "retires_on", "checked_on")
    }
    start = np.where(np.isnat(day["valid_from"]), SINCE_EVER.to_datetime64(), day["valid_from"])
    stale = prices.as_of.to_datetime64() - day["checked_on"] > np.timedelta64(STALE_AFTER_DAYS, "D")
    above, window = frame["context_above"].to_numpy(float), frame["context_window"].to_numpy(float)
    span = np.array([first_at, last_at], "datetime64[us]")
    edges = np.concatenate([day[c] for c in ("valid_from", "launched_on", "retires_on")])
    edges = np.unique(edges[(edges > span[0]) & (edges <= span[1])])
    slots = np.append(span[:1], edges)
    sizes = np.array([len(rows) for rows in where], "intp")
    begins = np.cumsum(sizes) - sizes
    lower, upper = _rows_in_force(start, begins, sizes, slots)
    later = lower[:, None] + np.arange(1, (upper - lower).max(initial=1))
    steps = np.where(later < upper[:, None], above.take(later, mode="clip"), np.inf)
    fresh = np.cumsum(np.append(0, ~stale))
    oldest, now = np.repeat(begins, len(slots)), np.tile(slots, len(offers))
    early = now < day["launched_on"][oldest]
    flags = (
        np.repeat([offer.flags for offer in offers], len(slots)).astype("uint16")
        | early * BIT["before_launch"]
        | (~early & (now < start[oldest])) * BIT["before_first_price"]
        | (now >= day["retires_on"][oldest]) * BIT["after_retirement"]
        | (fresh[lower] == fresh[upper]) * BIT["stale_price"]
    )
    rates = frame[[*BUCKETS, *BATCH_RATES]].to_numpy(float).reshape(-1, len(BUCKETS)).T / 1e6
    rates = rates * np.repeat([offer.factor for offer in offers], 2 * sizes)
    approximate = frame["approximate"].to_numpy() * BIT["approximate_price"]
    assumed = approximate | frame["batch_assumed"].to_numpy() * BIT["assumed_batch_rate"]
    unstepped = _unstepped(rates[0].reshape(-1, 2), start, above)
    assumed = assumed | unstepped * BIT["unstepped_batch_rate"]
    written = np.repeat(frame["write_assumed"].to_numpy() * BIT["assumed_write_rate"], 2)
    return _Book(
        slots=slots[1:].astype("int64"),
        first=2 * lower,
        steps=steps,
        window=np.nan_to_num(window[lower], nan=np.inf),
        flags=flags.astype("uint16"),
        rates=np.ascontiguousarray(np.nan_to_num(rates)),
        missing=np.isnan(rates),
        row_flags=np.column_stack([approximate, assumed]).ravel().astype("uint16"),
        write_flag=written.astype("uint16"),
        names=[offer.name for offer in offers],
    )


def _rows_in_force(start, begins, sizes, slots):
    """Return where the rows in force begin and end, for each offer and slot; `start` of an offer's rows ascends."""
    lower = np.empty((len(begins), len(slots)), "intp")
    upper = lower.copy()
    for place, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        own = start[begin : begin + size]
        newest = own[np.maximum(np.searchsorted(own, slots, side="right") - 1, 0)]
        lower[place] = begin + np.searchsorted(own, newest)
        upper[place] = begin + np.searchsorted(own, newest, side="right")
    return lower.ravel(), upper.ravel()


def _unstepped(rates, start, above):
    """Return where the batch rate of the input stays while the standard rate steps; `rates` has both, a row each."""
    before = np.vstack([rates[:1], rates[:-1]])
    stepped = (above > 0) & (start == np.append(start[:1], start[:-1]))
    return stepped & (rates[:, 0] != before[:, 0]) & (rates[:, 1] == before[:, 1])


@lru_cache(maxsize=512)
def _model_book(prices, model):
    """Rates of one model on `as_of`, kept because a control asks for them at each move."""
    offer = model if isinstance(model, Offer) else find_offer(prices, model)
    return rate_book(prices, [offer], prices.as_of, prices.as_of)


def _run(job, n, requests):
    """Return costs (5 x n, USD) and flag bits (n), block by block on all cores: numpy frees the interpreter lock."""
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
    """Price one block of rows in place; return (what, bucket, rows) of the first fault, if any."""
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
        assumed = aggregate & stepped & unreported
        bits |= assumed.astype("uint16") * np.uint16(BIT["aggregate_without_band"])
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
    for index, buckets in enumerate(PARTS.values()):
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
    """Return `table[index]` without a bounds check, for indices known to be in range."""
    return np.take(table, index, mode="clip")


def _explain(job, requests, what, bucket, rows):
    if what == "negative":
        bad = np.isin(np.arange(len(requests)), rows)
        refuse(requests, f"{bucket}_tokens", bad, "a negative count")
    name = job.book.names[job.code[rows[0]]]
    batch = job.batch is not None and job.batch[rows[0]]
    rate = f"{'batch rate' if batch else 'rate'} for {bucket}"
    when = "" if job.at is None else f" on {pd.Timestamp(job.at[rows[0]], unit='us'):%Y-%m-%d}"
    raise ValueError(
        f"model {name!r} has no {rate}{when}, and the table has such tokens from row {plain(requests.index[rows[0]])!r} on; "
        "a rate is never guessed: add it to a prices file, or set the rows aside"
    )


def _offers(requests, prices, at, by_region):
    """Return the code of each row's offer and the offers; each distinct spelling is looked up once."""
    columns = ("platform", "region", "service_tier") if by_region else ("platform", "service_tier")
    named = {c: _factorized(requests[c]) for c in ("model_id", *columns) if c in requests}
    codes, spelt = named["model_id"]
    if codes.min(initial=0) < 0:
        refuse(requests, "model_id", codes < 0, "a missing model")
    told = tuple(c for c in columns if c in named and (named[c][0] >= 0).any())
    distinct = [spelt]
    if told:
        parts = [named[c] for c in ("model_id", *told)]
        sizes = [len(names) + 1 for _, names in parts]  # a missing value has a place too
        key = np.ravel_multi_index([code.astype("intp") + 1 for code, _ in parts], sizes)
        codes, key = pd.factorize(key)
        places = zip(parts, np.unravel_index(key, sizes), strict=True)
        distinct = [np.array([None, *names], object)[place] for (_, names), place in places]
    offers = []
    for code, (spelling, *said) in enumerate(zip(*distinct, strict=True)):
        try:
            bought = dict(zip(told, said, strict=True))
            offers.append(find_offer(prices, spelling, **bought, told=told))
        except ValueError as error:
            rows = np.flatnonzero(codes == code)
            if len(rows):
                raise ValueError(
                    f"{error} ({counted(len(rows), 'row')}, first row {plain(requests.index[rows[0]])!r}, column 'model_id')"
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
    """Return the codes of a column's values, -1 for a missing one, and the values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories
    return pd.factorize(column)


def _by_hour(codes, offers, at):
    """Give the rows outside the hours of a peak rate the rate of the other hours."""
    second, codes = at // 1_000_000 % 86_400, codes.copy()
    for number, offer in enumerate(list(offers)):
        if offer and offer.hours:
            offers[number] = offer.at_hours(peak=True)
            rows = np.flatnonzero(codes == number)
            peak = [(second[rows] >= start) & (second[rows] < end) for start, end in offer.hours]
            codes[rows[~np.any(peak, axis=0)]] = len(offers)
            offers.append(offer.at_hours(peak=False))
    return codes, offers


def _bands(requests, aggregate_band):
    """Return the `bands` of `price_tokens`, or None where no row is a sum."""
    aggregate = sums(requests)
    if aggregate is None or not aggregate.any():
        return None
    reported = requests.get("context_above", pd.Series(np.nan, requests.index))
    reported = reported.to_numpy(float, na_value=np.nan)
    unreported = np.isnan(reported)
    otherwise = 0.0 if aggregate_band == "base" else np.finfo(float).max
    return aggregate, np.where(unreported, otherwise, reported + 1), unreported


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


def _other_usd(requests, prices, offers, codes, at, batch):
    """Price the units of each row and the fees per request (US dollars); None where there is neither."""
    known = request_fees() if prices.hosted else {}
    fees = [known.get(offer.name, 0.0) for offer in offers]
    units = requests.get("unit")
    there = np.flatnonzero([] if units is None else units.notna())
    if not len(there) and not any(fees):
        return None
    count = requests.get("requests", pd.Series(1, requests.index))
    usd = np.array([*fees, 0.0])[codes] * count.fillna(1).to_numpy(float)
    quantity = requests.get("quantity", pd.Series(np.nan, requests.index))
    quantity = quantity.to_numpy(float, na_value=np.nan)
    bad = there[~(quantity[there] >= 0)]
    if len(bad):
        name = plain(requests.index[bad[0]])
        raise ValueError(f"row {name!r}, column 'quantity': a number from 0 up is needed")
    keys = {
        "offer": codes[there],
        "unit": None if units is None else units.to_numpy(object)[there],
        "day": prices.as_of if at is None else pd.to_datetime(at[there], unit="us").floor("D"),
        "batch": False if batch is None else batch[there],
    }
    keys = pd.DataFrame(keys, index=there)
    for (place, *key), rows in keys.groupby(list(keys), sort=False).groups.items():
        try:
            rate = unit_rate(prices, offers[place], *key)
        except ValueError as error:
            name = plain(requests.index[rows[0]])
            raise ValueError(f"{error} (row {name!r}, column 'unit')") from None
        usd[rows] += quantity[rows] * rate * offers[place].factor
    return usd


def flag_names(flags):
    """Turn flag bits into a categorical of names joined by ";", "" for none."""
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
