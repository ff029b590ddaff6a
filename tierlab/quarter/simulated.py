"""Usage that is not the reader's own: two simulated quarters with known truths, and a recorded trace as a quarter.

The simulated quarters are the default input of the quarterly report, and the ground truth of its tests. Their figures
say nothing about the world.
"""

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.vocabulary import TIERS, unknown

PLANTS = ("price_change", "leak", "cache_break", "spike")
START, END = "2026-04-01", "2026-09-30"
PRICE_CHANGE = "2026-07-30"  # gpt-5.6-terra: a fifth off, in the maintained catalogue
LEAK_START, LEAK_PER_DAY = "2026-08-17", 24  # requests every day, at 300 requests a day in all
CACHE_BREAK = "2026-09-07"
SPIKE, SPIKE_FACTOR = "2026-07-21", 8  # on that day there are eight times the usual code reviews
LONG, LONGEST = 0.6, 0.9  # shares of a trace's inputs above which the next higher tier answers
MONTHLY_GROWTH = 0.03  # share by which the volume grows in 365.25 / 12 days
WEEKDAYS = (1.15, 1.2, 1.2, 1.15, 1.05, 0.65, 0.6)  # Monday first, mean 1
# Streams of requests: team, task and model, how often and how long (median tokens). The last is the leak.
*FLOWS, LEAK = pd.read_csv(DATA / "simulated_flows.csv").itertuples(index=False, name="Flow")
HIT_RATE = FLOWS[1].cached  # share of the support chat's input that is read from a cache


def synthetic_quarters(*, seed: int = 7, requests_per_day: float = 300, plants=PLANTS):
    """Simulate the requests of 2026Q2 and 2026Q3.

    Parameters
    ----------
    seed : int
        Seed of the simulation.
    requests_per_day : float
        Mean number at the start, before growth; above 0.
    plants : sequence of {"price_change", "leak", "cache_break", "spike"}
        What happens in the second quarter. Without "price_change" the code reviews run on gpt-5.4, whose price stays.

    Returns
    -------
    requests : DataFrame
        The requests table (about 60,000 rows by default), source "simulated".
    truths : DataFrame
        What was planted, from the parameters alone: plant, what, name (team, model or task), start, end, size, unit.

    Raises
    ------
    ValueError
        If a plant is unknown or `requests_per_day` is not above 0.

    Notes
    -----
    Numbers per day and flow are Poisson around share x volume x weekday factor x growth. Lengths are log-normal around
    their medians (sigma 0.4). Users of a team are drawn with weights 1 / rank, so that a few send most requests. Of the
    requests 1% fail without tokens and 3% need a second attempt; 1% of the answers are truncated. Times to the first
    token are log-normal around 0.6 s (1.2 s with reasoning), then tokens come at the flow's rate. Requests come between 7
    and 20 h UTC. A cached flow reads 70% of its input and writes 5% to the five-minute cache; when the cache breaks it
    reads nothing and writes the 75% anew. The leak is one user of the team "staging" that asks the flagship all day.

    Examples
    --------
    >>> requests, truths = synthetic_quarters(requests_per_day=20)
    >>> truths[["plant", "start"]].values.tolist()[0]
    ['price_change', Timestamp('2026-07-30 00:00:00')]
    """
    for plant in plants:
        if plant not in PLANTS:
            raise ValueError(unknown("plant", plant, PLANTS))
    if not requests_per_day > 0:
        raise ValueError(f"requests_per_day={requests_per_day!r}; a number above 0 is needed")
    rng = np.random.default_rng(seed)
    days = pd.date_range(START, END, unit="us")
    trend = (1 + MONTHLY_GROWTH) ** (np.arange(len(days)) / (365.25 / 12))
    trend *= np.array(WEEKDAYS)[days.day_of_week]
    parts = []
    for flow in FLOWS:
        mean = requests_per_day * flow.share * trend
        if flow.task == "code_review" and "spike" in plants:
            mean = np.where(days == pd.Timestamp(SPIKE), mean * SPIKE_FACTOR, mean)
        if flow.task == "code_review" and "price_change" not in plants:
            flow = flow._replace(model_id="gpt-5.4")
        parts.append(_requests(flow, days, rng.poisson(mean), rng))
    leaked = LEAK_PER_DAY * requests_per_day / 300
    if "leak" in plants:
        mean = np.where(days >= pd.Timestamp(LEAK_START), leaked, 0.0)
        parts.append(_requests(LEAK, days, rng.poisson(mean), rng))
    requests = pd.concat(parts, ignore_index=True)
    if "cache_break" in plants:
        late = (requests["at"] >= pd.Timestamp(CACHE_BREAK)) & (requests["cache_read_tokens"] > 0)
        requests.loc[late, "cache_write_short_tokens"] += requests.loc[late, "cache_read_tokens"]
        requests.loc[late, "cache_read_tokens"] = 0
    truths = _truths(leaked)
    truths = truths[truths["plant"].isin(plants)].reset_index(drop=True)
    return requests.sort_values("at", kind="stable", ignore_index=True), truths


def _requests(flow, days, numbers, rng):
    """Simulate the requests of one flow, `numbers` of them on each day."""
    n = int(numbers.sum())
    given = np.maximum(np.exp(rng.normal(np.log(flow.input_tokens), 0.4, n)).astype("int64"), 20)
    output = np.maximum(np.exp(rng.normal(np.log(flow.output_tokens), 0.4, n)).astype("int64"), 1)
    failed, cut = rng.random(n) < 0.01, rng.random(n) < 0.01
    given, output = np.where(failed, 0, given), np.where(failed, 0, output)
    read = (given * flow.cached).astype("int64")
    written = (given * 0.05).astype("int64") if flow.cached else np.zeros(n, "int64")
    ranks = np.arange(1, flow.users + 1)
    user = rng.choice(ranks, n, p=(1 / ranks) / (1 / ranks).sum())
    first = np.exp(rng.normal(np.log(1.2 if flow.reasoning else 0.6), 0.35, n))
    batch = rng.random(n) < flow.batch
    return pd.DataFrame(
        {
            "at": days.repeat(numbers)
            + pd.to_timedelta(rng.integers(7 * 3600, 20 * 3600, n), unit="s"),
            "model_id": flow.model_id,
            "task": flow.task,
            "team": flow.team,
            "user": [f"{flow.team}-{rank:02d}" for rank in user],
            "batch": batch,
            "status": np.select([failed, cut], ["error", "truncated"], "ok"),
            "attempts": np.where(failed | (rng.random(n) < 0.03), 2, 1),
            "uncached_input_tokens": given - read - written,
            "cache_read_tokens": read,
            "cache_write_short_tokens": written,
            "output_tokens": output,
            "reasoning_tokens": (output * flow.reasoning).astype("int64"),
            "ttft_s": np.where(batch | failed, np.nan, first),
            "end_to_end_s": np.where(batch | failed, np.nan, first + output / flow.tokens_per_s),
            "source": "simulated",
        }
    )


def _truths(leaked):
    fifth = "input and output of gpt-5.6-terra are a fifth cheaper"
    broken = "customer support reads nothing from its cache"
    rows = [
        ("price_change", fifth, "gpt-5.6-terra", PRICE_CHANGE, END, -0.2, "share of the rates"),
        (
            "leak",
            "a test environment calls the flagship",
            "staging",
            LEAK_START,
            END,
            leaked,
            "requests per day",
        ),
        (
            "cache_break",
            broken,
            "claude-sonnet-4-6",
            CACHE_BREAK,
            END,
            -HIT_RATE,
            "share of the flow's input",
        ),
        (
            "spike",
            "one day of code reviews many times over",
            "platform",
            SPIKE,
            SPIKE,
            SPIKE_FACTOR,
            "times the usual requests",
        ),
    ]
    columns = ["plant", "what", "name", "start", "end", "size", "unit"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"start": "datetime64[us]", "end": "datetime64[us]"})


def as_quarter(trace, prices, quarter):
    """Give a recorded trace a quarter's clock and a lineup's models, to see the report on real lengths.

    Parameters
    ----------
    trace : DataFrame
        From `tierlab.load_requests`: at, uncached_input_tokens, output_tokens, and no model.
    prices : Prices
    quarter : str or Period

    Returns
    -------
    DataFrame
        The requests, at and model_id filled in.

    Notes
    -----
    This is an assumption, not a finding. Anthropic's lineup of the quarter's last day answers. The trace's clock is
    stretched over the quarter, so that its order and rhythm stay. The shorter 60% of the inputs go to the small model, the
    next 30% to the mid one, the longest 10% to the flagship. Users, teams, tasks and failures are not made up: the
    sections that need them say so.
    """
    period = pd.Period(quarter, freq="Q")
    day = max(period.end_time.normalize(), prices.lineups["as_of"].min())
    lineup = prices.lineup(day).loc["anthropic"]
    rank = trace["uncached_input_tokens"].rank(pct=True, method="first")
    place = (rank > LONG).astype(int) + (rank > LONGEST)
    offset = trace["at"] - trace["at"].min()
    length = (period + 1).start_time - period.start_time - pd.Timedelta(seconds=1)
    at = (period.start_time + offset / offset.max() * length).astype("datetime64[us]")
    model = place.map(dict(enumerate(lineup[list(TIERS)])))
    return trace.drop(columns="prefix_ids", errors="ignore").assign(at=at, model_id=model)
