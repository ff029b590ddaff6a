"""Simulated outcomes: what every tier would answer to each request of a made-up, fully stated workload.

For learning how routing behaves and for planning; what a router would save on your own traffic is a question
for recorded or measured outcomes.
"""

import numpy as np
import pandas as pd

from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, unknown
from tierlab.routing.outcomes import price_outcomes

ARTICLE_MODELS = {
    "small": "claude-haiku-4-5",
    "mid": "claude-sonnet-4-6",
    "flagship": "claude-opus-4-8",
}
# task: share of requests, median input and output tokens of one request
_WORKLOAD = {
    "intent_classification": (0.25, 150, 10),
    "entity_extraction": (0.10, 300, 80),
    "faq_answering": (0.15, 1500, 150),
    "summarisation": (0.10, 2000, 200),
    "customer_support": (0.25, 500, 300),
    "code_review": (0.08, 1500, 400),
    "refactoring": (0.02, 8000, 1500),
    "legal_medical_analysis": (0.02, 10_000, 800),
    "agentic_tools": (0.03, 6000, 600),
}
_QUALITY_BY_COMPLEXITY = {1: (0.95, 0.96, 0.97), 2: (0.80, 0.88, 0.92), 3: (0.52, 0.69, 0.82)}
_CHARS_PER_TOKEN = 4


def default_tasks():
    """The workload that `simulate_outcomes` uses by default.

    Returns
    -------
    DataFrame
        By task (the ids of data/tasks.csv): share (of requests, 0-1), input_tokens and output_tokens (median
        of one request), and small, mid, flagship (probability, 0-1, that the tier's answer is right).

    Notes
    -----
    Customer support has the article's 500 and 300 tokens. Shares and other lengths are our assumptions: much
    traffic where the article speaks of high volume. Quality follows the complexity rating of data/tasks.csv:
    0.97, 0.92, 0.82 for the flagship at ratings 1, 2, 3; the mid tier is then 1%, 4% and 16% below (the article:
    10-20% below on hard benchmarks) and the small tier 2%, 13% and 37% below (the article: it often matches the
    flagship on narrow tasks and struggles with multi-step ones). A range of ratings takes the average.
    """
    complexity = load_tasks()[["complexity_low", "complexity_high"]]
    ends = [
        np.array([_QUALITY_BY_COMPLEXITY[rating] for rating in complexity[column]])
        for column in complexity
    ]
    quality = pd.DataFrame(np.mean(ends, axis=0), index=complexity.index, columns=list(TIERS))
    columns = ["share", "input_tokens", "output_tokens"]
    return (
        pd.DataFrame.from_dict(_WORKLOAD, orient="index", columns=columns)
        .rename_axis("task")
        .join(quality)
    )


def simulate_outcomes(
    n,
    *,
    seed,
    tasks=None,
    models=None,
    error_correlation=0.75,
    signal_skill=0.4,
    length_correlation=0.2,
    length_spread=(0.5, 0.3),
    output_ratio=1.0,
    ttft_s=None,
    tokens_per_s=None,
    failure_rate=0.0,
    users=100,
    start="2026-06-12",
    days=1.0,
    prices=None,
    usd_per_mtok=None,
):
    """Simulate what each tier would answer to each of `n` requests.

    Every number that is not passed is an assumption; its source is named below. Each quantity has its own
    random stream, so changing one parameter leaves the draws of the others as they are.

    Parameters
    ----------
    n : int
        Requests (prompts).
    seed : int or numpy.random.Generator
    tasks : DataFrame, optional
        As `default_tasks` returns it: share, input_tokens, output_tokens, and a column of quality per tier.
    models : mapping of str to str, optional
        Tier -> model id, cheapest first; by default the article's three Claude tiers. The tiers may be any in
        number and name, provided `tasks` has a column for each.
    error_correlation : float
        0-1: correlation between any two tiers' latent errors on a prompt, through the difficulty they share
        (Gaussian copula with one factor). 0: who fails is independent; 1: a prompt that beats a tier beats
        every tier of no higher quality. Measured (tetrachoric): median 0.75 over the 28 pairs of ZeroEval
        GSM's eight models; 0.21 for RouteLLM GSM8K, 0.68 for its MMLU, 0.70 for RouterArena.
    signal_skill : float
        0-1: correlation between a request's difficulty and what a router can see of it; 0 is blind, 1 sees
        all. At 0.4 a threshold on `router_signal` between the small tier and the flagship has an APGR near
        0.62, which is the best published for RouteLLM's GSM8K pair.
    length_correlation : float
        -1 to 1: correlation between difficulty within a task and log input length. Measured 0.22 (biserial)
        for the weak model on RouteLLM GSM8K, 0.01 for the strong one.
    length_spread : (float, float)
        Standard deviation of log input and log output tokens within a task. Output: ZeroEval GSM 0.24-0.36;
        input: our assumption (the Azure 2023 conversation trace has 0.99 over all tasks together).
    output_ratio : float or mapping of tier to float
        Output tokens against `tasks`. Measured on ZeroEval GSM (o200k_base): Claude 3 Haiku 1.29 and Sonnet
        1.48 times Opus; the default of 1 makes the cost ratio the price ratio.
    ttft_s : float or mapping of tier to float, optional
        Median time to the first token, seconds; 0.4, 0.7, 1.0 from small to flagship, our assumption.
    tokens_per_s : float or mapping of tier to float, optional
        Output speed; 55 for the flagship (the article: 50-60), 137.5 for the small tier (2-3 times that), and
        80 for the mid tier, our assumption.
    failure_rate : float or mapping of tier to float
        Share of calls that fail (status "error": score 0, no tokens, nothing billed).
    users : int
        Users; the k-th sends in proportion to 1/k (our assumption).
    start : str
        ISO date of the first request.
    days : float
        Time over which the requests arrive, evenly at random.
    prices, usd_per_mtok
        As for `tierlab.routing.outcomes.price_outcomes`; without them cost_usd is NaN.

    Returns
    -------
    DataFrame
        The outcomes table, a row per prompt and tier, with tier, difficulty (0-1, the share of requests that
        are about as easy or easier; no real router sees it) and router_signal (0-1, difficulty seen through
        noise, higher is harder). prompt_chars is four per input token. source is "simulated".

    Raises
    ------
    ValueError
        If a share, a correlation or a quality is out of range, or a tier or task is unknown.

    Examples
    --------
    >>> table = simulate_outcomes(1000, seed=1)
    >>> table["tier"].unique().tolist(), len(table)
    (['small', 'mid', 'flagship'], 3000)
    """
    tasks, models = _checked_tasks(
        default_tasks() if tasks is None else tasks, models or ARTICLE_MODELS
    )
    _in_range("error_correlation", error_correlation, 0, 1)
    _in_range("signal_skill", signal_skill, 0, 1)
    _in_range("length_correlation", length_correlation, -1, 1)
    for name, value in (("n", n), ("users", users)):
        if value < 1 or value != int(value):
            raise ValueError(f"{name}={value!r}; a whole number from 1 up is needed")
    tiers, k = list(models), len(models)
    failure = _per_tier("failure_rate", failure_rate, tiers, 0, 1)
    streams = iter(np.random.default_rng(seed).spawn(10))
    task = next(streams).choice(len(tasks), size=n, p=tasks["share"].to_numpy())
    latent = next(streams).standard_normal(n)

    from scipy.special import ndtr, ndtri

    ability = ndtri(tasks[tiers].to_numpy(float))
    error = np.sqrt(error_correlation) * latent[:, None]
    error = error + np.sqrt(1 - error_correlation) * next(streams).standard_normal((n, k))
    failed = next(streams).random((n, k)) < failure
    score = (error <= ability[task]) & ~failed
    hardness = _standardised_hardness(
        ability, tasks["share"].to_numpy(), task, latent, error_correlation
    )
    signal = signal_skill * hardness + np.sqrt(1 - signal_skill**2) * next(streams).standard_normal(
        n
    )

    stretch = length_correlation * latent + np.sqrt(1 - length_correlation**2) * next(
        streams
    ).standard_normal(n)
    given = _whole(tasks["input_tokens"].to_numpy()[task] * np.exp(length_spread[0] * stretch))
    wordiness = np.exp(length_spread[1] * next(streams).standard_normal(n))[:, None]
    ratio = _per_tier("output_ratio", output_ratio, tiers, 0)
    written = _whole(tasks["output_tokens"].to_numpy()[task][:, None] * wordiness * ratio)
    first = _per_tier("ttft_s", _default(ttft_s, tiers, (0.4, 0.7, 1.0)), tiers, 0)
    speed = _per_tier(
        "tokens_per_s", _default(tokens_per_s, tiers, (137.5, 80.0, 55.0)), tiers, 1e-9
    )
    wait = first * np.exp(0.3 * next(streams).standard_normal((n, k))) + written / speed
    weights = 1 / np.arange(1, users + 1)
    user = next(streams).choice(users, size=n, p=weights / weights.sum())
    at = np.sort(next(streams).random(n)) * days * 86_400e6

    def each(values):
        return np.repeat(values, k)

    def labels(codes, names):
        return pd.Categorical.from_codes(codes, names)

    table = pd.DataFrame(
        {
            "prompt_id": each(np.arange(n)),
            "model_id": labels(np.tile(np.arange(k, dtype="int8"), n), list(models.values())),
            "tier": labels(np.tile(np.arange(k, dtype="int8"), n), tiers),
            "task": labels(each(task.astype("int8")), tasks.index.to_list()),
            "user": labels(each(user), [f"user-{i}" for i in range(1, users + 1)]),
            "at": each(np.datetime64(start, "us") + at.astype("timedelta64[us]")),
            "prompt_chars": each(given * _CHARS_PER_TOKEN),
            "difficulty": each(ndtr(hardness)),
            "router_signal": each(ndtr(signal)),
            "score": score.ravel().astype(float),
            "uncached_input_tokens": np.where(failed, 0, given[:, None]).ravel(),
            "output_tokens": np.where(failed, 0, written).ravel(),
            "end_to_end_s": np.where(failed, first, wait).ravel(),
            "status": labels(failed.ravel().view("int8"), ["ok", "error"]),
            "source": labels(np.zeros(n * k, "int8"), ["simulated"]),
            "provenance": labels(
                np.zeros(n * k, "int8"),
                [
                    f"simulate_outcomes(n={n}, seed={seed if isinstance(seed, int) else 'a generator'})"
                ],
            ),
        },
        copy=False,
    )
    return price_outcomes(table, prices, usd_per_mtok=usd_per_mtok)


def _standardised_hardness(ability, share, task, latent, correlation):
    """Latent difficulty over all tasks, mean 0 and variance 1 over the workload."""
    level = ability.mean(axis=1)
    middle = share @ level
    spread = np.sqrt(correlation + share @ (level - middle) ** 2)
    return (np.sqrt(correlation) * latent - (level - middle)[task]) / (spread or 1.0)


def _checked_tasks(tasks, models):
    for column in ("share", "input_tokens", "output_tokens", *models):
        if column not in tasks:
            raise ValueError(
                f"tasks has no column {column!r}; it needs share, input_tokens, output_tokens and one per tier of models"
            )
    if not (np.isclose(tasks["share"].sum(), 1) and tasks["share"].ge(0).all()):
        raise ValueError(
            f"the shares of tasks are {tasks['share'].to_dict()}; they are 0-1 and add up to 1"
        )
    for tier in models:
        bad = ~tasks[tier].between(0, 1)
        if bad.any():
            raise ValueError(
                f"quality of {tier!r} in task {bad.idxmax()!r} is {tasks[tier][bad.idxmax()]!r}; it is a share, 0-1"
            )
    for column in ("input_tokens", "output_tokens"):
        bad = ~tasks[column].gt(0)
        if bad.any():
            raise ValueError(
                f"{column} of task {bad.idxmax()!r} is {tasks[column][bad.idxmax()]!r}; it is a number above 0"
            )
    return tasks.assign(share=tasks["share"] / tasks["share"].sum()), dict(models)


def _default(value, tiers, by_tier):
    if value is None and tiers == list(TIERS):
        return dict(zip(TIERS, by_tier, strict=True))
    return by_tier[1] if value is None else value


def _per_tier(name, value, tiers, low, high=np.inf):
    """A number, or a mapping of tier to number, as an array in the order of the tiers."""
    if not isinstance(value, dict):
        value = dict.fromkeys(tiers, value)
    for tier in [*value, *tiers]:
        if tier not in tiers or tier not in value:
            raise ValueError(
                f"{name}: "
                + (
                    unknown("tier", tier, tiers)
                    if tier not in tiers
                    else f"no value for tier {tier!r}"
                )
            )
        _in_range(f"{name} of {tier!r}", value[tier], low, high)
    return np.array([value[tier] for tier in tiers], float)


def _in_range(name, value, low, high):
    if not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; it lies from {low} to {high}")


def _whole(values):
    return np.maximum(1, np.rint(values)).astype("int64")
