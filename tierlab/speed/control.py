"""The controls of speed and limits: a mix of two tiers within a time limit, and the limit tiers that traffic needs."""

import ipywidgets
import pandas as pd

from tierlab.core.explorer import WIDE, Explorer, choice, nice_slider, share_slider
from tierlab.core.format import share, usd
from tierlab.scaling.workload import Workload
from tierlab.speed import figures, limits
from tierlab.speed.latency import (
    LLM_ROUTER_TOKENS,
    assumed_attainment,
    mix_attainment,
    request_costs,
    router_seconds,
)
from tierlab.speed.speeds import load_speeds

PAIRS = {
    "small and flagship": ("small", "flagship"),
    "small and mid": ("small", "mid"),
    "mid and flagship": ("mid", "flagship"),
}
PEAKS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
ROUTERS = {
    "embedding on this machine": "embedding_local",
    "embedding over the network": "embedding_hosted",
    "one call of the small model": "small_llm",
    "text features": "text_features",
    "none": "none",
}


class LatencyExplorer(Explorer):
    """A control that shows the requests within a time limit for a mix of two tiers, and price and waiting per 1,000 requests.

    Parameters
    ----------
    prices : Prices
        They must have the models of `speeds`.
    speeds : DataFrame, optional
        By default `tierlab.load_speeds()`.
    provider : str, optional
        By default the first of `speeds`.
    input_tokens : int
        Per request. They count for the price; their time is part of the time to the first token.
    output_tokens : int
        Per request, at the start.
    slo_s : float
        Limit at the start, in seconds.
    slow_share : float
        Share of requests on the more expensive tier at the start, 0-1; the slider has steps of 0.05.
    hour_usd : float
        Value of an hour of waiting at the start, USD.
    seed : int
    """

    size, margins = (7.2, 3.4), (0.9, 1.0, 0.65, 0.2)

    def __init__(
        self,
        prices,
        speeds=None,
        *,
        provider=None,
        input_tokens=500,
        output_tokens=300,
        slo_s=6.0,
        slow_share=0.2,
        hour_usd=20.0,
        seed=7,
    ):
        self.prices, self.input_tokens, self.seed = prices, input_tokens, seed
        self.speeds = load_speeds() if speeds is None else speeds
        super().__init__(
            provider=choice("provider", list(self.speeds["provider"].unique()), provider),
            pair=choice("tiers", list(PAIRS)),
            router=choice("router", list(ROUTERS)),
            output_tokens=nice_slider("output tokens per request", output_tokens, high=10_000),
            slo_s=ipywidgets.FloatSlider(
                description="limit (seconds)",
                value=slo_s,
                min=min(0.5, slo_s),
                max=max(30.0, slo_s),
                step=0.5,
                readout_format=".1f",
                continuous_update=False,
                **WIDE,
            ),
            slow_share=share_slider(
                "on the higher tier (% of requests)", round(slow_share * 20) / 20
            ),
            hour_usd=ipywidgets.FloatSlider(
                description="value of an hour (USD)",
                value=hour_usd,
                min=0,
                max=max(200.0, hour_usd),
                step=5,
                continuous_update=False,
                **WIDE,
            ),
        )

    def table(self, *, provider, pair, router, output_tokens, slo_s, slow_share, hour_usd):
        own = self.speeds[self.speeds["provider"] == provider].set_index("tier", drop=False)
        call = router_seconds(ROUTERS[router], self.speeds, provider=provider)
        tokens = {"input_tokens": self.input_tokens, "output_tokens": output_tokens}
        call_usd = 0.0  # milliseconds of your own machine cost next to nothing
        if ROUTERS[router] == "small_llm":
            asked = tokens | {"output_tokens": LLM_ROUTER_TOKENS}
            call_usd = request_costs(own.loc[["small"]], self.prices, **asked)["price_usd"].item()
        tiers = list(PAIRS[pair])
        own = own.loc[tiers]
        one = assumed_attainment(
            own, slo_s, output_tokens=output_tokens, router_s=call, seed=self.seed
        ).set_index("tier")
        costs = request_costs(own, self.prices, router_s=call[0], **tokens).set_index("tier")
        one["model"] = costs["model_id"]
        one["price_usd"] = 1000 * (costs["price_usd"] + call_usd)
        one["wait_usd"] = 1000 * costs["seconds"] * hour_usd / 3600
        weights = pd.Series([1 - slow_share, slow_share], tiers)
        within = mix_attainment(one, weights, together=True)
        one.loc["mix"] = (weights @ one[["price_usd", "wait_usd"]]).to_dict() | dict(
            zip(("share", "low", "high"), within, strict=True),
            model=f"{share(1 - slow_share)} and {share(slow_share)}",
        )
        return one

    def draw(self, ax, table, *, slow_share, **_):
        ends = table.iloc[:2].assign(
            slow_share=[0.0, 1.0], attainment=lambda t: t["share"], line="this mix"
        )
        figures.slo_mix(ends, at=slow_share, ax=ax)
        ax.set_xlabel(f"share of requests on {table['model'].iloc[1]}")

    def words(self, table, *, router, slo_s, hour_usd, **_):
        mix, rows = table.loc["mix"], self.speeds[self.speeds["model_id"].isin(table["model"])]
        basis = ", ".join(dict.fromkeys([*rows["basis"], *rows["ttft_basis"]]))
        unpriced = (
            ", without the endpoint's price, which no catalogue here has"
            if ROUTERS[router] == "embedding_hosted"
            else ""
        )
        wait = (
            f"the waiting at {usd(hour_usd)} an hour {usd(mix['wait_usd'])}"
            if hour_usd
            else "the waiting nothing, as for a nightly batch"
        )
        return (
            f"Of a mix of {table['model'].iloc[0]} and {table['model'].iloc[1]}, {mix['model']}, {share(mix['share'])} of requests are within "
            f"{slo_s:g} s ({share(mix['low'])} to {share(mix['high'])} over the ranges of the speeds, basis: {basis}), router: {router}. "
            f"1,000 requests cost {usd(mix['price_usd'])}{unpriced}, {wait}."
        )

    def numbers(self, table, **_):
        shown = table.reset_index()[
            ["tier", "model", "share", "low", "high", "price_usd", "wait_usd"]
        ]
        shown[["share", "low", "high"]] *= 100
        return shown.set_axis(
            [
                "tier",
                "model",
                "within the limit (%)",
                "at the slow ends (%)",
                "at the fast ends (%)",
                "price (USD per 1,000)",
                "waiting (USD per 1,000)",
            ],
            axis=1,
        )


class LimitExplorer(Explorer):
    """A control that shows how many times the traffic of a busy hour each limit tier carries.

    Parameters
    ----------
    rows : DataFrame
        From `tierlab.speed.limits.load_rate_limits`, with a column tier: the models that are compared.
    requests_per_day, input_tokens, output_tokens : int
        Traffic at the start; the whole input of a turn counts.
    cache_hit_rate : float
        Share of the input that is read from a cache, 0-1; the slider has steps of 0.05.
    peak : float
        Share of the day's requests in the busiest hour, above 0 and up to 1.
    seed : int
    """

    size, margins = (7.2, 4.2), (2.2, 1.5, 0.65, 0.1)

    def __init__(
        self,
        rows,
        *,
        requests_per_day=20_000,
        input_tokens=500,
        output_tokens=300,
        cache_hit_rate=0.0,
        peak=0.1,
        seed=7,
    ):
        self.rows, self.seed = rows, seed
        super().__init__(
            requests_per_day=nice_slider(
                "requests per day", requests_per_day, low=100, high=500_000
            ),
            peak=ipywidgets.SelectionSlider(
                description="in the busiest hour (% of requests)",
                options=[(share(each), each) for each in sorted({*PEAKS, peak})],
                value=peak,
                continuous_update=False,
                **WIDE,
            ),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=100_000),
            cache_hit_rate=share_slider(
                "input read from a cache (%)", round(cache_hit_rate * 20) / 20
            ),
            output_tokens=nice_slider("output tokens per request", output_tokens, high=10_000),
        )

    def table(self, *, peak, **shape):
        work = Workload(**shape, input_spread=1.0, output_spread=0.8)
        usage = limits.usage_per_minute(limits.busiest_hour(work, share=peak, seed=self.seed))
        return limits.loads(usage, self.rows).assign(tier=self.rows["tier"])

    def draw(self, ax, table, **_):
        figures.headroom(table, ax=ax)

    def words(self, table, *, requests_per_day, **_):
        first = table[
            table["limit_tier"] == table.groupby("model_id")["limit_tier"].transform("first")
        ]
        none = table.groupby("model_id", sort=False)["carries"].any()
        over = ", ".join(none.index[~none])
        return (
            f"{requests_per_day:,} requests a day: the smallest limit tier is enough for {first['carries'].sum()} of {len(none)} models, "
            + (f"none is enough for {over}." if over else "and each has one that is enough.")
        )

    def numbers(self, table, **_):
        found = limits.smallest_of(table)[["model_id", "limit_tier", "binding", "used"]]
        found["used"] *= 100
        heads = ["model", "smallest limit tier", "nearest limit", "used of it (%)"]
        return found.fillna({"limit_tier": "none"}).set_axis(heads, axis=1)
