"""Simulated outcomes: what every tier would answer to each request of a made-up, fully stated workload.

They show how routing behaves and help to plan; only recorded or measured outcomes can say what a router would save on
your own traffic.
"""

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks, refuse
from tierlab.core.vocabulary import TIERS, known
from tierlab.prices.catalog import Prices
from tierlab.routing.outcomes import price_outcomes
from tierlab.routing.policies import check_shares

_CHARS_PER_TOKEN = 4
_START = "2026-06-12"  # the day on which requests arrive, evenly at random
_GAP = np.timedelta64(120, "s")  # between two turns of a conversation, our assumption
_USERS = 100  # the k-th user sends in proportion to 1/k, our assumption
_INPUT_SPREAD, _OUTPUT_SPREAD = 0.5, 0.3  # standard deviation of log tokens within a task
_WAIT_SPREAD = 0.3  # standard deviation of the log time to the first token, our assumption
# Each random quantity of a simulation has its own stream; a new one goes to the end, so that the others keep theirs.
_STREAMS = [
    "task",
    "latent",
    "error",
    "failure",
    "signal",
    "length",
    "wordiness",
    "wait",
    "user",
    "time",
]


def default_tasks():
    """Return the workload that `simulate_outcomes` uses by default.

    Returns
    -------
    DataFrame
        By task (the ids of data/tasks.csv): share (of requests, 0-1), input_tokens and output_tokens (median
        of one request), and small, mid, flagship (probability, 0-1, that the tier's answer is right).

    Notes
    -----
    Customer support has the article's 500 and 300 tokens. Shares and other lengths are our assumptions: a task has much
    traffic where the article speaks of high volume. Quality is one minus the error rate in data/assumptions.csv at the
    complexity rating in data/tasks.csv, which `tierlab.recommend` assumes too; a range of ratings takes the average.
    """
    complexity = load_tasks()[["complexity_low", "complexity_high"]]
    rates = pd.read_csv(DATA / "assumptions.csv").query("quantity == 'error_rate'")
    by_rating = 1 - rates.astype({"rating": int}).pivot(
        index="rating", columns="tier", values="value"
    )
    by_rating = by_rating[list(TIERS)]
    low, high = (by_rating.loc[complexity[end]].to_numpy() for end in complexity)
    quality = pd.DataFrame((low + high) / 2, index=complexity.index, columns=by_rating.columns)
    return pd.read_csv(DATA / "simulated_tasks.csv", index_col="task").join(quality)


def one_task(task, shape):
    """Return a workload of one task whose requests are, on average, as long as a product's messages.

    Parameters
    ----------
    task : str
        An id of data/tasks.csv.
    shape : tierlab.core.product.Message
        A message, or a conversation, whose turns have these lengths.

    Returns
    -------
    DataFrame
        One row, with the columns of `default_tasks`.

    Notes
    -----
    The mean of a log-normal length is the median times exp(variance of its logarithm / 2).
    """
    tasks = default_tasks()
    known("task", task, tasks.index)
    spreads = {"input_tokens": _INPUT_SPREAD, "output_tokens": _OUTPUT_SPREAD}
    medians = {name: getattr(shape, name) / np.exp(s**2 / 2) for name, s in spreads.items()}
    return tasks.loc[[task]].assign(share=1.0, **medians)


def default_models():
    """Return the models that `simulate_outcomes` uses by default: the article's three Claude tiers.

    Returns
    -------
    DataFrame
        By tier, cheapest first: model_id; output_ratio, output tokens as a multiple of the task's median; ttft_s, median
        seconds to the first token; tokens_per_s, output speed; failure_rate, share of calls that fail (score 0, no
        tokens, nothing billed).

    Notes
    -----
    An output ratio of 1 makes the cost ratio the price ratio; measured on ZeroEval GSM by o200k_base, Claude 3 Haiku
    writes 1.29 and Sonnet 1.48 times as much as Opus. Speeds are the article's: 50-60 tokens a second for the flagship
    and 2-3 times that for the small tier. The mid tier's speed and all times to the first token are our assumptions.
    """
    models = {
        "model_id": ["claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8"],
        "output_ratio": 1.0,
        "ttft_s": [0.4, 0.7, 1.0],
        "tokens_per_s": [137.5, 80.0, 55.0],
        "failure_rate": 0.0,
    }
    return pd.DataFrame(models, index=pd.Index(TIERS, name="tier"))


def simulate_outcomes(
    n: int,
    *,
    seed: int | np.random.Generator,
    tasks: pd.DataFrame | None = None,
    models: pd.DataFrame | None = None,
    error_correlation: float = 0.75,
    signal_skill: float = 0.4,
    length_correlation: float = 0.2,
    prices: Prices | None = None,
    turns: int = 1,
    system_tokens: int = 0,
) -> pd.DataFrame:
    """Simulate what each tier would answer to each of `n` requests.

    Every number that you do not pass is an assumption, whose source is named below. Each quantity has its own random
    stream, so changing one parameter leaves the draws of the others as they are.

    Parameters
    ----------
    n : int
        Number of requests (prompts).
    seed : int or numpy.random.Generator
        Makes all draws.
    tasks : DataFrame, optional
        As `default_tasks` returns it: share, input_tokens, output_tokens, and a column of quality per tier.
    models : DataFrame, optional
        As `default_models` returns it, cheapest first. There may be any number of tiers, of any name, if `tasks` has
        a column for each.
    error_correlation : float
        0-1: correlation between any two tiers' latent errors on a prompt, through the difficulty they share
        (Gaussian copula with one factor). At 0 the tiers fail independently; at 1 a prompt that beats a tier beats
        every tier of no higher quality. Measured (tetrachoric): median 0.75 over the 28 pairs of ZeroEval
        GSM's eight models; 0.21 for RouteLLM GSM8K, 0.68 for its MMLU, 0.70 for RouterArena.
    signal_skill : float
        0-1: correlation between a request's difficulty and what a router can see of it; at 0 the router is blind, at 1
        it sees all. At 0.4 a threshold on `router_signal` between the small tier and the flagship has an APGR near
        0.62, which is the best published for RouteLLM's GSM8K pair.
    length_correlation : float
        -1 to 1: correlation between difficulty within a task and log input length. Measured (biserial) on RouteLLM
        GSM8K: 0.22 for the weak model and 0.01 for the strong one.
    prices : Prices, optional
        As for `tierlab.price_outcomes`; without them cost_usd is NaN.
    turns : int
        From 1 to `n`. More than 1 makes conversations: each run of this many prompts is one conversation of one task and
        one user, its turns are two minutes apart (our assumption), and every turn is sent all that came before it.
    system_tokens : int
        Length of the system prompt at the beginning of every conversation (tokens).

    Returns
    -------
    DataFrame
        The outcomes table, a row per prompt and tier, with tier, difficulty (0-1, the share of requests that
        are about as easy or easier; no real router sees it) and router_signal (0-1, difficulty seen through
        noise, higher is harder). prompt_chars is four per input token, and source is "simulated". Conversations have
        session_id and turn (from 1); the answers in their histories are the first tier's, whichever tier is asked.

    Raises
    ------
    ValueError
        If a share, a correlation or a quality is out of range, or a column is missing.

    Notes
    -----
    Log lengths within a task have standard deviations of 0.5 for the input (our assumption; the Azure 2023
    conversation trace has 0.99 over all tasks together) and 0.3 for the output (ZeroEval GSM: 0.24-0.36).

    Examples
    --------
    >>> table = simulate_outcomes(1000, seed=1)
    >>> table["tier"].unique().tolist(), len(table)
    (['small', 'mid', 'flagship'], 3000)
    """
    from scipy.special import ndtr, ndtri

    tasks = default_tasks() if tasks is None else tasks
    models = default_models() if models is None else models
    _check(tasks, models)
    for name, value, low, high in (
        ("n", n, 1, np.inf),
        ("error_correlation", error_correlation, 0, 1),
        ("signal_skill", signal_skill, 0, 1),
        ("length_correlation", length_correlation, -1, 1),
        ("turns", turns, 1, n),
        ("system_tokens", system_tokens, 0, np.inf),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value!r}; it must lie from {low} to {high}")
    k, share = len(models), tasks["share"].to_numpy() / tasks["share"].sum()
    streams = np.random.default_rng(seed).spawn(len(_STREAMS))
    random = dict(zip(_STREAMS, streams, strict=True))

    task = random["task"].choice(len(tasks), size=n, p=share)
    latent = random["latent"].standard_normal(n)
    noise = random["error"].standard_normal((n, k))
    error = np.sqrt(error_correlation) * latent[:, None] + np.sqrt(1 - error_correlation) * noise
    failed = random["failure"].random((n, k)) < models["failure_rate"].to_numpy(float)
    ability = ndtri(tasks[models.index].to_numpy(float))
    score = (error <= ability[task]) & ~failed
    hardness = _standardised_hardness(ability, share, task, latent, error_correlation)
    signal = _correlated(hardness, signal_skill, random["signal"])
    length = _correlated(latent, length_correlation, random["length"])
    given, written, wait = _lengths(random, tasks, models, task, length)
    weights = 1 / np.arange(1, _USERS + 1)
    user = random["user"].choice(_USERS, size=n, p=weights / weights.sum())
    at = np.sort(random["time"].random(n)) * 86_400e6  # over one day, microseconds

    each, nought = np.repeat(np.arange(n), k), np.zeros(n * k, int)
    first = models["ttft_s"].to_numpy(float)
    told = f"simulate_outcomes(n={n}, seed={seed if isinstance(seed, int) else 'a generator'})"
    table = pd.DataFrame(
        {
            "prompt_id": each,
            "model_id": _named(np.tile(np.arange(k), n), models["model_id"]),
            "tier": _named(np.tile(np.arange(k), n), models.index),
            "task": _named(task[each], tasks.index),
            "user": _named(user[each], [f"user-{number}" for number in range(1, _USERS + 1)]),
            "at": (np.datetime64(_START, "us") + at.astype("timedelta64[us]"))[each],
            "prompt_chars": (given * _CHARS_PER_TOKEN)[each],
            "difficulty": ndtr(hardness)[each],
            "router_signal": ndtr(signal)[each],
            "score": score.ravel().astype(float),
            "uncached_input_tokens": np.where(failed, 0, given[:, None]).ravel(),
            "output_tokens": np.where(failed, 0, written).ravel(),
            "end_to_end_s": np.where(failed, first, wait).ravel(),
            "status": _named(failed.ravel().astype(int), ["ok", "error"]),
            "source": _named(nought, ["simulated"]),
            "provenance": _named(nought, [told]),
        },
        copy=False,
    )
    if turns > 1:
        table = _as_conversations(table, turns, system_tokens, k)
    return price_outcomes(table, prices)


def _named(codes, names):
    return pd.Categorical.from_codes(codes, list(names))


def _correlated(values, correlation, random):
    """Return noise of variance 1 that is correlated with values of variance 1."""
    noise = random.standard_normal(len(values))
    return correlation * values + np.sqrt(1 - correlation**2) * noise


def _lengths(random, tasks, models, task, length):
    """Return the input tokens (n) of n requests, and the output tokens and seconds of their answers (n, k)."""
    given = _whole(tasks["input_tokens"].to_numpy()[task] * np.exp(_INPUT_SPREAD * length))
    wordiness = np.exp(_OUTPUT_SPREAD * random["wordiness"].standard_normal(len(task)))
    median = tasks["output_tokens"].to_numpy()[task][:, None]
    written = _whole(median * wordiness[:, None] * models["output_ratio"].to_numpy(float))
    noise = random["wait"].standard_normal(written.shape)
    wait = models["ttft_s"].to_numpy(float) * np.exp(_WAIT_SPREAD * noise)
    wait += written / models["tokens_per_s"].to_numpy(float)
    return given, written, wait


def _as_conversations(table, turns, system_tokens, k):
    """Make the prompts turns of conversations: each is also sent the inputs and answers before it."""
    session, turn = np.divmod(table["prompt_id"].to_numpy(), turns)
    begins = (session * turns) * k  # row of the first answer of the first turn
    new, answers = (
        table[column].to_numpy()[::k].astype("int64")
        for column in ("prompt_chars", "output_tokens")
    )
    new = new // _CHARS_PER_TOKEN
    grown = pd.DataFrame({"new": new, "answers": answers}).groupby(session[::k]).cumsum()
    whole = (system_tokens + grown["new"] + grown["answers"] - answers).to_numpy()
    whole = np.repeat(whole, k)
    failed = table["status"].eq("error").to_numpy()
    return table.assign(
        session_id=session,
        turn=turn + 1,
        task=table["task"].array[begins],
        user=table["user"].array[begins],
        at=table["at"].to_numpy()[begins] + turn * _GAP,
        prompt_chars=whole * _CHARS_PER_TOKEN,
        uncached_input_tokens=np.where(failed, 0, whole),
    )


def _standardised_hardness(ability, share, task, latent, correlation):
    """Return the latent difficulty over all tasks, with mean 0 and variance 1 over the workload."""
    level = ability.mean(axis=1)
    middle = share @ level
    spread = np.sqrt(correlation + share @ (level - middle) ** 2)
    return (np.sqrt(correlation) * latent - (level - middle)[task]) / (spread or 1.0)


def _check(tasks, models):
    """Refuse tables that lack a column or hold a number that makes no sense."""
    of_tasks = ("share", "input_tokens", "output_tokens", *models.index)
    for name, table, columns in (
        ("tasks", tasks, of_tasks),
        ("models", models, default_models().columns),
    ):
        for column in columns:
            if column not in table:
                raise ValueError(f"{name} has no column {column!r}; needed: {', '.join(columns)}")
    check_shares("the share of tasks", dict(tasks["share"]))
    least = np.finfo(float).tiny  # above 0
    for table, columns, low, high, why in (
        (tasks, models.index, 0, 1, "a quality that is not a share, 0-1,"),
        (models, ["failure_rate"], 0, 1, "not a share, 0-1,"),
        (tasks, ["input_tokens", "output_tokens"], least, np.inf, "not a number above 0"),
        (models, ["output_ratio", "tokens_per_s"], least, np.inf, "not a number above 0"),
        (models, ["ttft_s"], 0, np.inf, "not a number from 0 up"),
    ):
        for column in columns:
            refuse(table, column, ~table[column].between(low, high), why)


def _whole(values):
    return np.maximum(1, np.rint(values)).astype("int64")
