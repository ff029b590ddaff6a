"""Check of exercise 6, when a prompt cache pays, and the simulated trace that it is tried on."""

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.prices.catalog import load_prices
from tierlab.scaling.workload import cache_hits
from tierlab.workshop.values import compare, table

MODEL, AS_OF = "claude-sonnet-4-6", "2026-06-12"
BLOCK = 512  # tokens
WRITES = {"5m": ("cache_write_short", 300), "1h": ("cache_write_long", 3600)}  # bucket, seconds


def help_desk(*, seed=6, sessions=120, gap_s=1200.0):
    """One day of a help desk that answers by e-mail: conversations whose turns lie minutes apart, simulated.

    Parameters
    ----------
    seed, sessions : int
        Conversations.
    gap_s : float
        Median time between two turns of a conversation, seconds.

    Returns
    -------
    DataFrame
        A requests table without a model: at, session, uncached_input_tokens (the whole input), output_tokens,
        prefix_ids (chained blocks of 512 tokens; a block that is not full has none), source "simulated".

    Notes
    -----
    Conversations begin at any time of eight hours and have 1 + Poisson(4) turns, log-normal gaps (sigma 1) apart. The first
    block is the instruction, the same for all. Each turn sends the conversation so far and 300 to 1,499 new tokens.

    Examples
    --------
    >>> desk = help_desk(sessions=2)
    >>> sorted(desk["session"].unique().tolist()), desk["prefix_ids"].str[0].unique().tolist()
    ([0, 1], [0])
    """
    rng, rows = np.random.default_rng(seed), []
    for session in range(sessions):
        at, length = rng.uniform(0, 8 * 3600), BLOCK
        for _ in range(1 + rng.poisson(4)):
            length += int(rng.integers(300, 1500))
            output = int(rng.integers(80, 400))
            rows.append(
                (
                    at,
                    session,
                    length,
                    output,
                    [0, *(1000 * (session + 1) + block for block in range(length // BLOCK - 1))],
                )
            )
            length += output
            at += gap_s * np.exp(rng.normal())
    frame = pd.DataFrame(
        rows, columns=["at", "session", "uncached_input_tokens", "output_tokens", "prefix_ids"]
    )
    at = pd.Timestamp(AS_OF) + pd.to_timedelta(9 * 3600 + frame["at"].round(), unit="s")
    return (
        frame.assign(at=at, source="simulated")
        .sort_values("at", kind="stable")
        .reset_index(drop=True)
    )


def cache_break_even(h_star, hit_rate, input_usd):
    """Exercise 6: break-even hit rates, simulated hit rates, and what the day's input costs with and without a cache."""
    prices = (
        load_prices("maintained", as_of=AS_OF)
        .in_force()
        .query("context_above == 0")
        .set_index("model_id")
    )
    rates = prices.loc[
        MODEL, ["uncached_input", "cache_read", *(bucket for bucket, _ in WRITES.values())]
    ].astype(float)
    plain, read, *writes = rates  # USD per million tokens
    writes = dict(zip(WRITES, writes, strict=True))
    _break_evens(h_star, plain, read, writes)
    yield "h_star"
    desk = help_desk()
    whole = desk["uncached_input_tokens"]
    hits = {"ideal": cache_hits(desk)} | {
        ttl: cache_hits(desk, ttl_s=seconds) for ttl, (_, seconds) in WRITES.items()
    }
    _hit_rates(hit_rate, hits, whole)
    yield "hit_rate"
    bills = _bills(
        input_usd, {ttl: hits[ttl].sum() for ttl in WRITES}, whole.sum(), plain, read, writes
    )
    yield "input_usd"
    best, worst = min(bills, key=bills.get), max(bills, key=bills.get)
    return f"The right choice is worth {usd(bills[worst] - bills[best])} on this one day."


def _break_evens(h_star, plain, read, writes):
    right = {ttl: (write - plain) / (write - read) for ttl, write in writes.items()}
    for ttl, answer in table("h_star", h_star, list(writes)).items():
        write, star = writes[ttl], right[ttl]
        mistakes = {
            1 / star: "upside down: a share of the tokens lies between zero and one",
            1 - star: "this is the share that may miss; the share that must hit is asked for",
            (write - plain)
            / write: "this takes what is read for free; a hit still pays the read rate",
            (write - plain)
            / (
                plain - read
            ): "this is how many reads earn one write back; the share of tokens is asked for",
            (write - plain) / plain: "this is the premium of a write alone; what does a hit save?",
            plain
            / (
                write - read
            ): "which side pays the premium? Set the cost with a cache equal to that without",
            **{
                other: "this belongs to the other time to live"
                for name, other in right.items()
                if name != ttl
            },
        }
        compare(f"h_star[{ttl!r}]", answer, star, abs=1e-3, mistakes=mistakes)


def _hit_rates(hit_rate, hits, whole):
    rates = {name: found.sum() / whole.sum() for name, found in hits.items()}
    for name, answer in table("hit_rate", hit_rate, list(hits)).items():
        found = hits[name]
        mistakes = {
            (
                found / whole
            ).mean(): "an average of the requests' shares: short requests count as much as long ones; divide sums",
            (
                found > 0
            ).mean(): "this is the share of requests with a hit; the share of input tokens is asked for",
            1 - rates[name]: "this is the share that misses",
            found.sum()
            / (whole - found).sum(): "this divides by what misses; divide by the whole input",
            **{
                rate: f"this is the rate of {other!r}: is ttl_s in seconds?"
                for other, rate in rates.items()
                if other != name
            },
            **{0.0: "nothing hits: is ttl_s in seconds?"},
        }
        compare(f"hit_rate[{name!r}]", answer, rates[name], abs=0.005, mistakes=mistakes)


def _bills(input_usd, hits, whole, plain, read, writes):
    bills = {"none": whole * plain} | {
        t: hits[t] * read + (whole - hits[t]) * write for t, write in writes.items()
    }
    for name, answer in table("input_usd", input_usd, list(bills)).items():
        mistakes = {
            bills[other] / 1e6: f"this is the cost of {other!r}" for other in bills if other != name
        }
        if name in hits:
            missed = whole - hits[name]
            mistakes |= {
                (hits[name] * read + missed * plain)
                / 1e6: "what misses is written to the cache, and a write costs more than plain input",
                (hits[name] * read + whole * writes[name])
                / 1e6: "tokens that are read are not written again",
                missed * writes[name] / 1e6: "a hit is cheap, not free: the read rate is missing",
                whole * writes[name] / 1e6: "nothing is read: where did the hits go?",
                (hits[name] * writes[name] + missed * read)
                / 1e6: "reads and writes have changed places",
            }
        compare(f"input_usd[{name!r}]", answer, bills[name] / 1e6, rel=1e-3, mistakes=mistakes)
    return {name: dollars / 1e6 for name, dollars in bills.items()}
