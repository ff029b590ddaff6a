"""Where outcomes come from: a simulation, public data sets, or a file of your own, scored and priced.

Simulated outcomes teach how routing behaves and serve for planning; what a router would save on your own traffic is a
question for recorded or measured outcomes. The public answers were given by models of 2023-2024 and scored by the named
projects, or by our scorer where the raw answers are published. `tierlab.core.datasets` fetches them: none of them is
kept in this repository.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core import datasets
from tierlab.core.extras import install_line
from tierlab.core.frames import as_pandas
from tierlab.core.paths import DATA
from tierlab.core.tables import load_tasks, one_of, refuse
from tierlab.core.vocabulary import TIERS, known, unknown
from tierlab.evaluate.scorers.numeric import numeric
from tierlab.prices.catalog import Prices, load_prices
from tierlab.routing.evaluations import is_evaluation, read_evaluation
from tierlab.routing.outcomes import check_outcomes, merge_flags, note, price_outcomes
from tierlab.routing.policies import check_shares
from tierlab.scaling.workload import read_rows

SOURCES = ("simulated", "recorded", "measured")
_CHARS_PER_TOKEN = 4
_START = "2026-06-12"  # the day on which requests arrive, evenly at random
_GAP = np.timedelta64(120, "s")  # between two turns of a conversation, our assumption
_USERS = 100  # the k-th sends in proportion to 1/k, our assumption
_INPUT_SPREAD, _OUTPUT_SPREAD = 0.5, 0.3  # standard deviation of log tokens within a task


def load_outcomes(
    name_or_path: str | Path | pd.DataFrame,
    *,
    prices: Prices | None = None,
    usd_per_mtok: Mapping[str, tuple[float, float]] | None = None,
    incomplete: str = "raise",
    models: Sequence[str] | None = None,
    metric: str | None = None,
    scale: tuple[float, float] | None = None,
) -> pd.DataFrame:
    """Recorded outcomes by name, or a file of one's own, as an outcomes table.

    Parameters
    ----------
    name_or_path : {"routellm_gsm8k", "routellm_mmlu", "zeroeval_gsm", "routerarena"} path or dataframe
        A public data set; a table, a CSV or Parquet file with at least prompt_id, model_id and score; or an evaluation log of
        Inspect, lm-evaluation-harness, promptfoo or Langfuse, or a folder of them
        (`tierlab.routing.evaluations.read_evaluation`).
    prices : Prices, optional
        From `tierlab.load_prices`. Without it costs are the file's, or NaN. With it every cost is worked out
        from the token counts.
    usd_per_mtok : mapping of str to (float, float), optional
        Input and output rate, USD per million tokens, of models that `prices` lacks. No catalogue of the kit
        prices RouteLLM's weak model, mistralai/Mixtral-8x7B-Instruct-v0.1.
    incomplete : {"raise", "drop"}
        Prompts that some model has not answered.
    models : sequence of str, optional
        Only the rows of these models or tiers are read and checked.
    metric, scale
        Of an evaluation log: which score, and its scale where that is not 0-1.

    Returns
    -------
    DataFrame
        The outcomes table. What was done to it is in its columns: `source`, `provenance` (repository, commit,
        licence, prompts left out and why), `tokenizer`, `cost_source`, and `flags` (no_price,
        estimated_tokens, assumed_output_tokens, reasoning_not_counted, score_clipped, and those of
        `tierlab.price`). `tierlab.routing.outcomes.outcome_account` counts them.

    Raises
    ------
    ValueError
        If the name is unknown, or a file cannot be read, lacks a column, has a misspelt one, a score outside
        0-1 or missing, a cost missing in some rows, two rows for one prompt and model, or prompts that some
        model has not answered; names file and row.

    Notes
    -----
    Where the data has text and no token counts, tokens are counted by o200k_base for every model alike: an assumption,
    whose measured error is in `count_tokens`.

    RouteLLM (Ong et al., arXiv 2406.18665): scored by its authors, without the prompts that they list as contaminated
    (12 of GSM8K, 5 of MMLU); the input is the question alone, without the worked examples they sent along. Prompt ids
    of MMLU are subject and row, because some questions repeat; its answers count as one token, all that the authors let the models write. ZeroEval: raw answers scored
    by `tierlab.evaluate.scorers.numeric.numeric`; the hidden reasoning of o1-mini is billed and not in the data,
    so its cost is a lower bound. RouterArena: the providers' token counts and
    the list prices of the time; one score below 0 (METEOR against chance) is set to 0 and flagged.
    """
    if not isinstance(name_or_path, str | Path):
        table = _recorded(as_pandas(name_or_path, "the outcomes"), "a table")
        table = check_outcomes(_of(table, models), incomplete=incomplete)
        return _costed(table, prices, usd_per_mtok).reset_index(drop=True)
    name = str(name_or_path)
    log = name not in READERS and is_evaluation(Path(name))
    if name not in READERS and not log and Path(name).suffix not in (".csv", ".parquet"):
        raise ValueError(
            unknown("data set", name, READERS)
            + " (or a path to a .csv or .parquet file, or to an evaluation log)"
        )
    try:
        if log:
            table = _answered(read_evaluation(name, metric=metric, scale=scale))
        else:
            path = Path(name)
            table = READERS[name]() if name in READERS else _recorded(read_rows(path), path.name)
        table = check_outcomes(_of(table, models), incomplete=incomplete)
        return _costed(table, prices, usd_per_mtok).reset_index(drop=True)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _answered(table):
    """The answers that have a score; `check_outcomes` sees a prompt without one as unanswered."""
    lost = table["score"].isna()
    table = table[~lost]
    return note(table, f"{lost.sum():,} calls without a score left out") if lost.any() else table


def _of(table, models):
    """The rows of some models; what is wrong with the others does not matter then."""
    if models is None or "model_id" not in table:
        return table
    names = table[table.columns.intersection(["model_id", "tier"])].astype(str)
    for name in models:
        if not (names == name).any(axis=None):
            raise ValueError(unknown("model", name, names["model_id"].unique()))
    return table[names.isin(models).any(axis=1)]


def _recorded(frame, name):
    """A table with a source and a provenance."""
    frame = frame.assign(**{"source": "recorded", "provenance": name} | dict(frame.items()))
    bad = ~frame["source"].isin(SOURCES)
    if bad.any():
        source = unknown("source", frame["source"][bad.idxmax()], SOURCES)
        raise ValueError(f"row {bad.idxmax()}, column 'source': {source}")
    return frame.astype({"source": "category"})


def _costed(table, prices, usd_per_mtok):
    """The table with costs: worked out where there are prices, else the file's own, else NaN and flagged."""
    counted = {"uncached_input_tokens", "output_tokens"} <= set(table.columns)
    if prices is not None or usd_per_mtok or (counted and "cost_usd" not in table):
        return price_outcomes(table, prices, usd_per_mtok=usd_per_mtok)
    if "cost_usd" not in table:
        nothing = {"cost_usd": np.nan, "cost_source": "none: no costs and no token counts"}
        return table.assign(**nothing, flags=merge_flags(table, "no_price"))
    if "cost_source" in table:
        return table
    missing = table["cost_usd"].isna()
    if missing.any():
        raise ValueError(
            f"a cost is missing in {missing.sum():,} rows, first row {missing.idxmax()}, column 'cost_usd'; "
            "give prices= to work costs out from tokens, or leave the column out"
        )
    return table.assign(cost_source="the file")


def as_tiers(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The cheapest, a middle and the most expensive model of a table as small, mid and flagship, where it names no tiers.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table.

    Returns
    -------
    DataFrame
        As it is when it has a column `tier`. Otherwise the rows of three models (two if there are only two, then
        without a mid tier) with the column added: by mean cost, or by mean score where a cost is unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"prompt_id": [1, 1], "model_id": ["a", "b"], "score": [1, 1], "cost_usd": [0.02, 0.01]})
    >>> as_tiers(table)["tier"].tolist()
    ['flagship', 'small']
    """
    if "tier" in outcomes:
        return outcomes
    means = outcomes.groupby("model_id", observed=True)[["cost_usd", "score"]].mean()
    by = "score" if means["cost_usd"].isna().any() else "cost_usd"
    order = means.sort_values(by, kind="stable").index.astype(str)
    if len(order) < 2:
        raise ValueError("tiers need at least two models")
    named = {order[len(order) // 2]: "mid", order[0]: "small", order[-1]: "flagship"}
    names = outcomes["model_id"].astype(str)
    return outcomes.assign(model_id=names, tier=names.map(named))[names.isin(named)]


def recorded_tiers(name_or_path):
    """Recorded outcomes as up to three tiers with a cost for every answer: a public data set by name, or a file.

    Parameters
    ----------
    name_or_path : str or path
        Of zeroeval_gsm, the three Claude 3 models.

    Raises
    ------
    ValueError
        If answers have no cost.

    Notes
    -----
    Mixtral 8x7B, which no catalogue lists any more, costs RouteLLM's 0.24 USD per million tokens in and out (arXiv
    2406.18665).
    """
    of_routellm = name_or_path in ("routellm_gsm8k", "routellm_mmlu")
    known = of_routellm or name_or_path == "zeroeval_gsm"
    outcomes = load_outcomes(
        name_or_path,
        prices=load_prices("maintained") if known else None,
        usd_per_mtok={"mistralai/Mixtral-8x7B-Instruct-v0.1": (0.24, 0.24)}
        if of_routellm
        else None,
    )
    if name_or_path == "zeroeval_gsm":
        outcomes = outcomes[outcomes["model_id"].astype(str).str.startswith("claude-3-")]
    outcomes = as_tiers(outcomes)
    lacking = outcomes["cost_usd"].isna().sum()
    if lacking:
        raise ValueError(
            f"{name_or_path}: {lacking:,} answers have no cost; give the file a column cost_usd"
        )
    return outcomes


def count_tokens(texts, tokenizer="o200k_base"):
    """Tokens of each text by one offline tokenizer.

    Parameters
    ----------
    texts : sequence of str
    tokenizer : {"o200k_base", "cl100k_base"}
        OpenAI's encodings for GPT-4o and later and for GPT-4 (bundled in the package bpe-openai). Other providers
        publish no tokenizer for their current models: for them either is an assumption.

    Returns
    -------
    ndarray of int

    Notes
    -----
    Against the providers' own counts in RouterArena (809 prompts with their answers), tokens per o200k_base
    token have a median of 1.16 for Claude 3 Haiku (5th to 95th percentile 1.09 to 1.26) and 0.94 for Gemini
    2.0 Flash (0.67 to 1.06).

    Examples
    --------
    >>> count_tokens(["tiktoken is great!", ""]).tolist()
    [6, 0]
    """
    one_of("tokenizer", tokenizer, ("o200k_base", "cl100k_base"))
    with warnings.catch_warnings():
        # on import it calls a function that Python 3.11 and 3.12 deprecate
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            from bpe_openai import get_encoding
        except ModuleNotFoundError as error:
            raise ImportError(install_line(error)) from None
    different = list(dict.fromkeys(texts))
    counted = map(len, get_encoding(tokenizer).encode_ordinary_batch(different))
    lookup = dict(zip(different, counted, strict=True))
    return np.fromiter((lookup[text] for text in texts), "int64")


def routellm_gsm8k():
    """1,319 grade-school problems, Mixtral 8x7B (weak) and GPT-4 Turbo (strong), scored by RouteLLM."""
    folder = datasets.path("routellm_gsm8k")
    wide = pd.read_csv(folder / "gsm8k_responses.csv", keep_default_na=False).assign(task="gsm8k")
    wide["prompt_id"] = "gsm8k-" + wide.index.astype(str)
    models = [column for column in wide if f"{column}_response" in wide]
    kept, left_out = _without_contaminated(wide, folder / "gsm8k_contaminated_prompts.jsonl")
    answers = kept[[f"{model}_response" for model in models]].to_numpy().ravel()
    table = _long(kept, models).assign(output_tokens=count_tokens(answers))
    return _described(table, "routellm_gsm8k", left_out)


def routellm_mmlu():
    """14,042 exam questions of 57 subjects, the same two models; no answer text is published."""
    folder = datasets.path("routellm_mmlu")
    parts = {}
    for file in sorted((folder / "mmlu").glob("mmlu_*.csv")):
        parts[file.stem.removeprefix("mmlu_")] = pd.read_csv(file, keep_default_na=False)
    wide = pd.concat(parts, names=["task", "row"])
    models = list(wide.columns.drop("prompt"))
    wide = wide.reset_index()
    wide["prompt_id"] = wide["task"] + "-" + wide["row"].astype(str)
    kept, left_out = _without_contaminated(wide, folder / "mmlu_contaminated_prompts.jsonl")
    # the authors ran it with max_new_tokens=1 (routellm/evals/mmlu/generate_responses.py)
    table = _long(kept, models).assign(output_tokens=1)
    table["flags"] = merge_flags(table, "assumed_output_tokens")
    written = "1 output tokens taken for every answer, whose text is not published (an assumption)"
    return _described(table, "routellm_mmlu", f"{left_out}; {written}")


def zeroeval_gsm():
    """1,319 grade-school problems answered by eight models of 2024, raw answers scored by `numeric`."""
    runs = []
    for file in sorted(datasets.path("zeroeval_gsm").glob("*.json")):
        runs.append(pd.DataFrame(json.loads(file.read_text())).assign(model_id=file.stem))
    raw = pd.concat(runs, ignore_index=True)
    replies = raw["output"].str[0]
    truths = zip(replies, raw["answer"], strict=True)
    table = pd.DataFrame(
        {
            "prompt_id": raw["id"],
            "model_id": raw["model_id"].astype("category"),
            "task": raw["dataset"],
            "prompt": raw["question"],
            "score": [numeric(reply, (), truth).score for reply, truth in truths],
            "uncached_input_tokens": count_tokens(raw["chat_history"].str[0]),
            "output_tokens": count_tokens(replies),
        }
    )
    hidden = np.where(table["model_id"] == "o1-mini-2024-09-12", "reasoning_not_counted", "")
    return _described(table.assign(flags=merge_flags(table, hidden)), "zeroeval_gsm")


def routerarena():
    """809 prompts of many benchmarks, Claude 3 Haiku and Gemini 2.0 Flash, with the providers' token counts and costs."""
    files = sorted(datasets.path("routerarena").glob("*.jsonl"))
    raw = pd.concat([pd.read_json(file, lines=True) for file in files], ignore_index=True)
    result = pd.json_normalize(raw["evaluation_result"])
    usage = pd.json_normalize(raw["token_usage"])
    table = pd.DataFrame(
        {
            "prompt_id": raw["global_index"],
            "model_id": raw["llm_selected"].astype("category"),
            "task": raw["global_index"].str.rsplit("_", n=1).str[0],
            "prompt": raw["question"],
            "score": result["score"].clip(0, 1),
            "cost_usd": result["inference_cost"],
            "status": np.where(raw["success"], "ok", "error"),
            "uncached_input_tokens": usage["input_tokens"],
            "output_tokens": usage["output_tokens"],
            "cost_source": "the file: list prices at the time of the run",
            "tokenizer": "the provider's own count",
        }
    )
    clipped = np.where(table["score"] != result["score"], "score_clipped", "")
    return _described(table.assign(flags=merge_flags(table, clipped)), "routerarena")


READERS = {
    reader.__name__: reader for reader in (routellm_gsm8k, routellm_mmlu, zeroeval_gsm, routerarena)
}


def _without_contaminated(wide, listed):
    """The table without the prompts that RouteLLM lists as contaminated, and a remark that says how many."""
    bad = wide["prompt"].isin(pd.read_json(listed, lines=True)["eval_prompt"])
    left_out = f"{bad.sum()} of {len(wide):,} prompts left out as contaminated"
    return wide[~bad].reset_index(drop=True), left_out


def _long(wide, models):
    """One row per prompt and model from one row per prompt."""
    table = wide.loc[wide.index.repeat(len(models)), ["prompt_id", "task", "prompt"]]
    model_id = pd.Categorical.from_codes(np.tile(np.arange(len(models)), len(wide)), models)
    scores = wide[models].astype(str).eq("True").astype(float).to_numpy().ravel()
    table = table.reset_index(drop=True).assign(model_id=model_id, score=scores)
    return table.assign(uncached_input_tokens=count_tokens(table["prompt"]))


def _described(table, name, remark=None):
    """The table with what it is and where it comes from, in columns."""
    origin = datasets.REGISTRY[name].iloc[0]
    text = f"{origin['repository']} at {origin['commit'][:7]}, {origin['licence']}"
    columns = {"source": "recorded", "provenance": f"{text}; {remark}" if remark else text}
    if "tokenizer" not in table:
        columns["tokenizer"] = "o200k_base, taken for every model (an assumption)"
        columns["flags"] = merge_flags(table, "estimated_tokens")
    table = table.assign(prompt_chars=table["prompt"].str.len(), **columns)
    words = ["task", "source", "provenance", "tokenizer", "cost_source"]
    return table.astype({column: "category" for column in words if column in table})


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
    traffic where the article speaks of high volume. Quality is one minus the error rates of data/assumptions.csv at the
    complexity rating of data/tasks.csv, the same that `tierlab.recommend` assumes; a range of ratings takes the average.
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
    """A workload of one task whose requests have, on average, the lengths of a product's message or conversation.

    Parameters
    ----------
    task : str
        Id of data/tasks.csv.
    shape : tierlab.core.product.Message

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
    """The models that `simulate_outcomes` uses by default: the article's three Claude tiers.

    Returns
    -------
    DataFrame
        By tier, cheapest first: model_id; output_ratio, output tokens against the median of the task (measured on
        ZeroEval GSM by o200k_base: Claude 3 Haiku 1.29 and Sonnet 1.48 times Opus; the default of 1 makes the cost
        ratio the price ratio); ttft_s, median seconds to the first token (our assumption); tokens_per_s, output
        speed (the article: 50-60 for the flagship, 2-3 times that for the small tier; the mid tier is our
        assumption); failure_rate, share of calls that fail (score 0, no tokens, nothing billed).
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

    Every number that is not passed is an assumption; its source is named below. Each quantity has its own
    random stream, so changing one parameter leaves the draws of the others as they are.

    Parameters
    ----------
    n : int
        Requests (prompts).
    seed : int or numpy.random.Generator
    tasks : DataFrame, optional
        As `default_tasks` returns it: share, input_tokens, output_tokens, and a column of quality per tier.
    models : DataFrame, optional
        As `default_models` returns it, cheapest first. The tiers may be any in number and name, provided `tasks` has
        a column for each.
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
    prices : Prices, optional
        As for `tierlab.price_outcomes`; without them cost_usd is NaN.
    turns : int
        More than 1 makes conversations: each run of this many prompts is one, of one task and one user, two minutes
        apart (our assumption), and every turn is sent all that came before it.
    system_tokens : int
        System prompt at the beginning of every conversation.

    Returns
    -------
    DataFrame
        The outcomes table, a row per prompt and tier, with tier, difficulty (0-1, the share of requests that
        are about as easy or easier; no real router sees it) and router_signal (0-1, difficulty seen through
        noise, higher is harder). prompt_chars is four per input token. source is "simulated". Conversations have
        session_id and turn (from 1); the answers in their histories are the first tier's, whoever is asked.

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
            raise ValueError(f"{name} is {value!r}; it lies from {low} to {high}")
    k, share = len(models), tasks["share"].to_numpy() / tasks["share"].sum()
    ability = ndtri(tasks[models.index].to_numpy(float))
    streams = iter(np.random.default_rng(seed).spawn(10))
    task = next(streams).choice(len(tasks), size=n, p=share)
    latent = next(streams).standard_normal(n)
    noise = next(streams).standard_normal((n, k))
    error = np.sqrt(error_correlation) * latent[:, None] + np.sqrt(1 - error_correlation) * noise
    failed = next(streams).random((n, k)) < models["failure_rate"].to_numpy(float)
    score = (error <= ability[task]) & ~failed
    hardness = _standardised_hardness(ability, share, task, latent, error_correlation)
    noise = next(streams).standard_normal(n)
    signal = signal_skill * hardness + np.sqrt(1 - signal_skill**2) * noise

    noise = next(streams).standard_normal(n)
    length = length_correlation * latent + np.sqrt(1 - length_correlation**2) * noise
    given = _whole(tasks["input_tokens"].to_numpy()[task] * np.exp(_INPUT_SPREAD * length))
    wordiness = np.exp(_OUTPUT_SPREAD * next(streams).standard_normal(n))
    median = tasks["output_tokens"].to_numpy()[task][:, None]
    ratio = models["output_ratio"].to_numpy(float)
    written = _whole(median * wordiness[:, None] * ratio)
    first = models["ttft_s"].to_numpy(float)
    wait = first * np.exp(0.3 * next(streams).standard_normal((n, k)))
    wait += written / models["tokens_per_s"].to_numpy(float)
    weights = 1 / np.arange(1, _USERS + 1)
    user = next(streams).choice(_USERS, size=n, p=weights / weights.sum())
    at = np.sort(next(streams).random(n)) * 86_400e6  # over one day, microseconds
    told = f"simulate_outcomes(n={n}, seed={seed if isinstance(seed, int) else 'a generator'})"

    each = np.repeat(np.arange(n), k)
    which = np.tile(np.arange(k), n)
    users = [f"user-{number}" for number in range(1, _USERS + 1)]
    table = pd.DataFrame(
        {
            "prompt_id": each,
            "model_id": pd.Categorical.from_codes(which, models["model_id"].to_list()),
            "tier": pd.Categorical.from_codes(which, models.index.to_list()),
            "task": pd.Categorical.from_codes(task[each], tasks.index.to_list()),
            "user": pd.Categorical.from_codes(user[each], users),
            "at": (np.datetime64(_START, "us") + at.astype("timedelta64[us]"))[each],
            "prompt_chars": (given * _CHARS_PER_TOKEN)[each],
            "difficulty": ndtr(hardness)[each],
            "router_signal": ndtr(signal)[each],
            "score": score.ravel().astype(float),
            "uncached_input_tokens": np.where(failed, 0, given[:, None]).ravel(),
            "output_tokens": np.where(failed, 0, written).ravel(),
            "end_to_end_s": np.where(failed, first, wait).ravel(),
            "status": pd.Categorical.from_codes(failed.ravel().astype(int), ["ok", "error"]),
            "source": pd.Categorical.from_codes(np.zeros(n * k, int), ["simulated"]),
            "provenance": pd.Categorical.from_codes(np.zeros(n * k, int), [told]),
        },
        copy=False,
    )
    if turns > 1:
        table = _as_conversations(table, turns, system_tokens, k)
    return price_outcomes(table, prices)


def _as_conversations(table, turns, system_tokens, k):
    """The same prompts as turns of conversations: each is sent the inputs and answers before it as well."""
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
    """Latent difficulty over all tasks, mean 0 and variance 1 over the workload."""
    level = ability.mean(axis=1)
    middle = share @ level
    spread = np.sqrt(correlation + share @ (level - middle) ** 2)
    return (np.sqrt(correlation) * latent - (level - middle)[task]) / (spread or 1.0)


def _check(tasks, models):
    """Refuse tables that lack a column or hold a number that makes no sense."""
    needed = ("share", "input_tokens", "output_tokens", *models.index), default_models().columns
    for name, table, columns in zip(("tasks", "models"), (tasks, models), needed, strict=True):
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
