"""What thinking adds to the bill and to the wait, and how many errors it must avoid to be worth it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tierlab.core.format import listed, usd
from tierlab.core.format import share as percent
from tierlab.core.paths import DATA
from tierlab.core.vocabulary import known, needs
from tierlab.prices.catalog import Prices
from tierlab.scaling.costs import cost_curve, daily_cost
from tierlab.scaling.workload import Workload
from tierlab.speed.latency import seconds_per_request
from tierlab.speed.speeds import load_speeds

_SHARES = ("share", "share_low", "share_high")


@lru_cache
def load_efforts(path=DATA / "efforts.csv"):
    """Return the share of billed output that each effort setting is assumed to spend on reasoning, with a range.

    Providers publish the settings but not what they use, so measure your own: divide `reasoning_tokens` of the requests
    table by `output_tokens`.

    Parameters
    ----------
    path : path
        A table like data/efforts.csv.

    Returns
    -------
    DataFrame
        Indexed by effort, from none to max: share, share_low, share_high (of billed output, 0-1), providers (that
        have the setting, November 2026), not_on (their models in a lineup of the kit that cannot think at all:
        OpenAI's API reference gives the setting to the gpt-5 and o-series and later models), basis, reason.

    Examples
    --------
    >>> load_efforts()["share"].to_dict()
    {'none': 0.0, 'minimal': 0.1, 'low': 0.2, 'medium': 0.5, 'high': 0.8, 'xhigh': 0.95, 'max': 0.95}
    """
    # "none" is a setting, not a gap.
    table = pd.read_csv(path, keep_default_na=False).set_index("effort")
    return table.astype(dict.fromkeys(_SHARES, float))


def billed_output(visible_tokens: ArrayLike, reasoning_share: ArrayLike) -> float | np.ndarray:
    """Return the output tokens that are billed when only some of them are shown.

    Parameters
    ----------
    visible_tokens : array_like of float
        Output tokens of the answer, without the reasoning.
    reasoning_share : array_like of float
        Share of the billed output that is reasoning, 0 to below 1.

    Returns
    -------
    float or ndarray
        Tokens.

    Raises
    ------
    ValueError
        If a share is not from 0 to below 1.

    Notes
    -----
    billed = visible / (1 - share), as in `tierlab.Workload`. OpenAI and Anthropic count reasoning inside output,
    Gemini beside it; all three bill it at the rate of output.

    Examples
    --------
    A share of 0.70 is 3.3 times the output:

    >>> round(billed_output(300, 0.70), 6), round(billed_output(1, 0.70), 2)
    (1000.0, 3.33)
    """
    share = np.asarray(reasoning_share, float)
    right = ((share >= 0) & (share < 1)).all()
    needs("reasoning_share", reasoning_share, right, "a share from 0 to below 1")
    billed = np.asarray(visible_tokens, float) / (1 - share)
    return billed if billed.ndim else float(billed)


def output_break_even(prices, model, against, *, input_tokens=0, output_tokens=1):
    """Return how many times another model's output a model must emit to cost as much per request.

    Parameters
    ----------
    prices : Prices
    model, against : str
        Model ids: for example a reasoning model, and a flagship whose `output_tokens` are all shown.
    input_tokens, output_tokens : float
        Of a request. Without input, the result is the ratio of the output prices.

    Returns
    -------
    float
        Multiple of the output. If visible answers are equally long, a reasoning share of 1 - 1 / multiple reaches it.

    Notes
    -----
    i p_in + k o p_out = c_other, solved for k.

    Examples
    --------
    >>> import tierlab as tl
    >>> june = tl.load_prices("maintained", as_of="2026-06-12")
    >>> round(output_break_even(june, "o3", "gpt-5.5"), 6)
    3.75
    """
    shown = Workload(requests_per_day=1, input_tokens=input_tokens, output_tokens=output_tokens)
    silent = replace(shown, output_tokens=0)
    other, whole = daily_cost(shown, prices, [against, model])["cost_usd"]
    read = daily_cost(silent, prices, [model])["cost_usd"].iloc[0]
    return float((other - read) / (whole - read))


def first_visible_s(visible_tokens, reasoning_share, ttft_s, tokens_per_s):
    """Return the time to the first token that a reader sees, which comes after the reasoning.

    Parameters
    ----------
    visible_tokens, reasoning_share
        As for `billed_output`.
    ttft_s, tokens_per_s
        As for `tierlab.speed.latency.seconds_per_request`.

    Returns
    -------
    float or ndarray
        Seconds.

    Notes
    -----
    ttft + reasoning tokens / speed: the first visible token is number r + 1 of the output.

    Examples
    --------
    700 tokens of reasoning before an answer of 300, at 50 tokens per second:

    >>> round(first_visible_s(300, 0.70, 1.0, 50), 6)
    15.0
    """
    reasoning = billed_output(visible_tokens, reasoning_share) - np.asarray(visible_tokens, float)
    return seconds_per_request(1 + reasoning, ttft_s, tokens_per_s)


def share_for_slowdown(times, visible_tokens, ttft_s, tokens_per_s):
    """Return the reasoning share at which a request takes `times` as long, at the same speed.

    Parameters
    ----------
    times : array_like of float
        1 or more.
    visible_tokens, ttft_s, tokens_per_s : float
        As for `first_visible_s`.

    Returns
    -------
    float or ndarray
        Share 0-1 of billed output.

    Notes
    -----
    ttft + (v / (1 - s) - 1) / speed = times x (ttft + (v - 1) / speed), solved for s.

    Examples
    --------
    "2-5 times slower" for 300 visible tokens at 55 tokens per second:

    >>> share_for_slowdown([2, 5], 300, 1.2, 55).round(2).tolist()
    [0.55, 0.83]
    """
    times = np.asarray(times, float)
    needs("times", times.tolist(), (times >= 1).all(), "a factor from 1 up")
    whole = times * seconds_per_request(visible_tokens, ttft_s, tokens_per_s)
    share = np.maximum(1 - visible_tokens / ((whole - ttft_s) * tokens_per_s + 1), 0)
    return share if share.ndim else float(share)


def thinking_break_even(
    extra_usd: ArrayLike,
    extra_s: ArrayLike,
    *,
    error_gap: ArrayLike | None = None,
    error_cost_usd: ArrayLike | None = None,
    second_usd: ArrayLike | None = None,
) -> float | np.ndarray:
    """Return the one value at which thinking costs as much as it saves, given the other two.

    Parameters
    ----------
    extra_usd : array_like of float
        How much more a request costs with thinking (USD); below 0 if it costs less.
    extra_s : array_like of float
        How much longer it takes (seconds), 0 or more.
    error_gap : array_like of float, optional
        By how much thinking lowers the error rate, share 0-1.
    error_cost_usd : array_like of float, optional
        USD per wrong answer.
    second_usd : array_like of float, optional
        What a second of waiting is worth (USD); 0 where nobody waits.

    Returns
    -------
    float or ndarray
        Whichever of the three is left out. Thinking pays above that error gap or error cost, and below that value of a
        second. The result is infinite where no value is enough (a gap above 1, an error cost without a gap). A gap or
        error cost below 0 means that thinking pays whatever errors cost; a value of a second below 0 means that thinking
        does not pay even where nobody waits.

    Raises
    ------
    ValueError
        Unless exactly one of the three is left out and the other numbers are not negative.

    Notes
    -----
    Both choices have the same total cost (`tierlab.decide.tasks.expected_cost`) where gap x C = extra_usd + extra_s x V.

    Examples
    --------
    Thinking costs two cents and twelve seconds more, an error costs a dollar, and a second is worth a tenth of a cent:

    >>> round(thinking_break_even(0.02, 12, error_cost_usd=1.0, second_usd=0.001), 6)
    0.032
    """
    given = {"error_gap": error_gap, "error_cost_usd": error_cost_usd, "second_usd": second_usd}
    told = {name: np.asarray(value, float) for name, value in given.items() if value is not None}
    if len(told) != 2:
        raise ValueError(
            f"leave out exactly one of {', '.join(given)}; {3 - len(told)} are left out"
        )
    extra_usd, extra_s = np.asarray(extra_usd, float), np.asarray(extra_s, float)
    if any((value < 0).any() for value in (extra_s, *told.values())):
        raise ValueError(f"extra_s={extra_s!r}, {given}; none of them can be below 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        if second_usd is None:
            value = (told["error_gap"] * told["error_cost_usd"] - extra_usd) / extra_s
        else:
            extra = extra_usd + extra_s * told["second_usd"]
            value = extra / told["error_gap" if error_cost_usd is None else "error_cost_usd"]
    if error_gap is None:
        value = np.where(value > 1, np.inf, value)
    return value if np.ndim(value) else float(value)


def effort_costs(
    workload: Workload,
    prices: Prices,
    model: str,
    speed: Mapping[str, float],
    *,
    efforts: Sequence[str],
) -> pd.DataFrame:
    """Return what a request costs and how long it takes at each effort setting.

    Parameters
    ----------
    workload : Workload
        Its `reasoning_share` is set by the effort; `output_tokens` are the visible ones.
    prices : Prices
    model : str
    speed : mapping
        ttft_s and tokens_per_s, optionally with _low and _high ends: a row of `tierlab.load_speeds`.
    efforts : sequence of str
        Index values of `tierlab.reasoning.effort.load_efforts`, whose table says which provider has which setting.

    Returns
    -------
    DataFrame
        Indexed by effort: share, billed_tokens, cost_usd (USD per request), first_visible_s and seconds (to the last
        token), each with _low and _high: the ends of the assumed shares, and of the speeds where they are given.

    Raises
    ------
    ValueError
        If an effort is unknown.
    """
    table = load_efforts()
    for effort in efforts:
        known("effort", effort, table.index)
    table = table.loc[list(efforts)]
    one = replace(workload, requests_per_day=1, reasoning_share=0)
    visible = one.mean_tokens()["output"]
    shares = np.unique(table[list(_SHARES)])
    curve = cost_curve(one, prices, [model], over="reasoning_share", values=shares)
    costs = curve.set_index("reasoning_share")["cost_usd"]
    columns = {}
    for end, other in (("", ""), ("_low", "_high"), ("_high", "_low")):
        share = table[f"share{end}"].to_numpy()
        ttft = speed.get(f"ttft_s{end}", speed["ttft_s"])
        pace = speed.get(f"tokens_per_s{other}", speed["tokens_per_s"])  # slow is long
        billed = billed_output(visible, share)
        columns |= {
            f"share{end}": share,
            f"billed_tokens{end}": billed,
            f"cost_usd{end}": costs.loc[share].to_numpy(),
            f"first_visible_s{end}": first_visible_s(visible, share, ttft, pace),
            f"seconds{end}": seconds_per_request(billed, ttft, pace),
        }
    names = ("share", "billed_tokens", "cost_usd", "first_visible_s", "seconds")
    order = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    return pd.DataFrame(columns, index=table.index)[order]


def thinking_choices(
    workload: Workload,
    prices: Prices,
    provider: str,
    *,
    error_cost_usd: float,
    second_usd: float,
) -> pd.DataFrame:
    """Return what thinking must achieve to be worth it, for a provider's small model and its flagship at each effort.

    Parameters
    ----------
    workload : Workload
        One request; `output_tokens` are the visible ones.
    prices : Prices
    provider : str
        A provider of the lineup on the day of the prices.
    error_cost_usd, second_usd : float
        What a wrong answer and a second of waiting cost (USD).

    Returns
    -------
    DataFrame
        A row per tier (small, flagship) and effort that the provider has, from none on: tier, effort, model_id, the
        columns of `effort_costs`, extra_usd and extra_s (over no thinking), and gap, gap_low, gap_high: the share of
        requests (0-1) that the effort has to set right to repay its price and its wait. Speeds are those of
        `tierlab.load_speeds` for the provider's tier. A model that cannot think (GPT-4o-mini) has only the row none.

    Examples
    --------
    >>> import tierlab as tl
    >>> june = tl.load_prices("maintained", as_of="2026-06-12")
    >>> choices = thinking_choices(Workload(requests_per_day=1), june, "openai", error_cost_usd=1.0, second_usd=0.0)
    >>> choices.groupby("model_id")["effort"].agg(list)["gpt-4o-mini"]
    ['none']
    """
    efforts, speeds = load_efforts(), load_speeds().set_index(["provider", "tier"])
    has = efforts["providers"].str.split().map(lambda names: provider in names)
    parts = []
    for tier in ("small", "flagship"):
        model = prices.lineup().at[provider, tier]
        able = efforts["not_on"].str.split().map(lambda names, model=model: model not in names)
        names = list(dict.fromkeys(["none", *efforts.index[has & able]]))
        now = effort_costs(workload, prices, model, speeds.loc[(provider, tier)], efforts=names)
        extra = now - now.loc["none"]
        now = now.assign(
            tier=tier, model_id=model, extra_usd=extra["cost_usd"], extra_s=extra["seconds"]
        )
        for end in ("", "_low", "_high"):
            more = extra[f"cost_usd{end}"], extra[f"seconds{end}"]
            now[f"gap{end}"] = thinking_break_even(
                *more, error_cost_usd=error_cost_usd, second_usd=second_usd
            )
        parts.append(now.reset_index())
    return pd.concat(parts, ignore_index=True)


def told(choices):
    """Write the table of `thinking_choices` for readers: the price of a message, the wait, and what thinking must set right.

    Parameters
    ----------
    choices : DataFrame
        From `thinking_choices`, or rows of it.

    Returns
    -------
    DataFrame
    """
    never = choices["gap"].map(lambda gap: percent(gap) if np.isfinite(gap) else "more than all")
    columns = {
        "model": choices["model_id"],
        "effort": choices["effort"],
        "a message": choices["cost_usd"].map(usd),
        "first word after (s)": choices["first_visible_s"].map("{:.1f}".format),
        "messages to set right": never.mask(choices["effort"] == "none", "nothing"),
    }
    return pd.DataFrame(columns)


def thinking_headline(choices, error_gap):
    """Say in a sentence where thinking pays if it sets a share of the requests right.

    Parameters
    ----------
    choices : DataFrame
        From `thinking_choices`.
    error_gap : float
        Share of requests, 0-1, that thinking sets right.

    Returns
    -------
    str

    Examples
    --------
    >>> choices = pd.DataFrame({"model_id": "m", "tier": "small", "effort": ["none", "low"], "gap": [0, 0.01]})
    >>> thinking_headline(choices, 0.05)
    'If it sets 5% of the messages right, thinking pays on m at low effort'
    """
    parts, unable = [], ""
    for model, rows in choices.groupby("model_id", sort=False):
        names = list(rows.loc[(rows["gap"] <= error_gap) & (rows["effort"] != "none"), "effort"])
        if len(rows) > 1:
            parts.append(f"on {model} at {listed(names) or 'no'} effort")
        else:
            unable = f"; {model} cannot think"
    where = ", ".join(parts)
    return f"If it sets {percent(error_gap)} of the messages right, thinking pays {where}{unable}"
