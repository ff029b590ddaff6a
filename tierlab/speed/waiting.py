"""What waiting is worth: a second on every turn, and the tiers with price and wait in one currency."""

import pandas as pd

from tierlab.scaling.costs import daily_cost
from tierlab.scaling.workload import Workload
from tierlab.speed.latency import mean_seconds


def turn_value(turns_per_day, seconds_saved, second_usd):
    """What the time saved on every turn is worth per day, USD: turns x seconds x value of a second.

    Examples
    --------
    Half a second on a million turns, at a wage of 18 USD an hour:

    >>> turn_value(1_000_000, 0.5, 18 / 3600)
    2500.0
    """
    return turns_per_day * seconds_saved * second_usd


def second_break_even(cost_fast_usd, cost_slow_usd, seconds_fast, seconds_slow):
    """Value of a second above which the faster model is the cheaper choice, both counted in money.

    Parameters
    ----------
    cost_fast_usd, cost_slow_usd : float
        USD per request.
    seconds_fast, seconds_slow : float
        Time per request.

    Returns
    -------
    float
        USD per second; 0 where the faster model costs no more, infinite where it is not faster.

    Notes
    -----
    c_fast + t_fast v = c_slow + t_slow v, so v = (c_fast - c_slow) / (t_slow - t_fast).

    Examples
    --------
    >>> round(second_break_even(0.012, 0.010, 3.0, 7.0), 6)
    0.0005
    """
    if seconds_fast >= seconds_slow:
        return float("inf")
    return max(0.0, (cost_fast_usd - cost_slow_usd) / (seconds_slow - seconds_fast))


def request_costs(speeds, prices, *, input_tokens, output_tokens, router_s=0.0):
    """Price and mean time of a request on each row of a table of speeds.

    Parameters
    ----------
    speeds : DataFrame
        Of `tierlab.load_speeds`; its models are priced, whatever the lineup of `prices` is.
    prices : Prices
    input_tokens, output_tokens : int
        Means per request.
    router_s : float
        Seconds of a router in front, median.

    Returns
    -------
    DataFrame
        provider, tier, model_id, price_usd (USD per request, without the router's own price), seconds (mean), flags.

    Examples
    --------
    >>> import tierlab as tl
    >>> costs = request_costs(tl.load_speeds(), tl.load_prices("article"), input_tokens=500, output_tokens=300)
    >>> costs["price_usd"].round(6).to_list()[:3]
    [0.01, 0.006, 0.002]
    """
    work = Workload(requests_per_day=1, input_tokens=input_tokens, output_tokens=output_tokens)
    day = (
        daily_cost(work, prices, speeds["model_id"].tolist())
        .set_index("model_id")
        .loc[speeds["model_id"]]
    )
    table = speeds[["provider", "tier", "model_id"]].reset_index(drop=True)
    table["price_usd"] = day["cost_usd"].to_numpy()
    table["seconds"] = mean_seconds(
        output_tokens, speeds["ttft_s"], speeds["tokens_per_s"], router_s=router_s
    )
    return table.assign(flags=day["flags"].to_numpy())


def premium(costs, hours_usd, *, dear="flagship", cheap="small"):
    """What a request on a provider's dearer tier costs more, price and wait together, over the value of an hour.

    Parameters
    ----------
    costs : DataFrame
        Of `request_costs`.
    hours_usd : sequence of float
        Values of an hour of waiting, USD.
    dear, cheap : str
        Tiers.

    Returns
    -------
    DataFrame
        provider, hour_usd, extra_usd (USD per request), price_gap_usd, time_gap_s, equal_hour_usd: the value of an hour
        at which the wait costs as much as the price difference; infinite where the dearer tier is no slower.

    Examples
    --------
    >>> costs = pd.DataFrame({"provider": "p", "tier": ["small", "flagship"], "price_usd": [0.002, 0.010], "seconds": [2, 6]})
    >>> premium(costs, [0, 7.2])["extra_usd"].round(6).tolist()
    [0.008, 0.016]
    """
    rows = []
    for provider, own in costs.groupby("provider", sort=False):
        own = own.set_index("tier")
        price, time = (
            own.at[dear, name] - own.at[cheap, name] for name in ("price_usd", "seconds")
        )
        equal = price / time * 3600 if time > 0 else float("inf")
        rows += [
            (provider, hour, price + time * hour / 3600, price, time, equal) for hour in hours_usd
        ]
    return pd.DataFrame(
        rows,
        columns=[
            "provider",
            "hour_usd",
            "extra_usd",
            "price_gap_usd",
            "time_gap_s",
            "equal_hour_usd",
        ],
    )


def paid_speed(costs):
    """Every pair of models of which the faster one is the dearer one, with the value of an hour at which it pays.

    Parameters
    ----------
    costs : DataFrame
        Of `request_costs`.

    Returns
    -------
    DataFrame
        faster, slower (model ids), saved_s, extra_usd (per request), hour_usd (`second_break_even` times 3,600), in order
        of it; empty where the faster model is never the dearer one.

    Examples
    --------
    >>> costs = pd.DataFrame({"model_id": ["a", "b"], "price_usd": [0.002, 0.001], "seconds": [1.0, 2.0]})
    >>> paid_speed(costs)["hour_usd"].round(6).tolist()
    [3.6]
    """
    pairs = costs.merge(costs, how="cross", suffixes=("", "_slow"))
    pairs = pairs[
        (pairs["seconds"] < pairs["seconds_slow"]) & (pairs["price_usd"] > pairs["price_usd_slow"])
    ]
    table = pd.DataFrame({"faster": pairs["model_id"], "slower": pairs["model_id_slow"]})
    table["saved_s"] = pairs["seconds_slow"] - pairs["seconds"]
    table["extra_usd"] = pairs["price_usd"] - pairs["price_usd_slow"]
    figures = pairs[["price_usd", "price_usd_slow", "seconds", "seconds_slow"]].itertuples(
        index=False
    )
    table["hour_usd"] = [second_break_even(*row) * 3600 for row in figures]
    return table.sort_values("hour_usd", ignore_index=True)
