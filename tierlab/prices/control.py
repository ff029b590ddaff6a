"""The control of prices: what a day of one kind of request costs, by bucket."""

import numpy as np
import pandas as pd

from tierlab.core import style
from tierlab.core.explorer import Explorer, choice, nice_slider, share_slider
from tierlab.core.format import usd
from tierlab.core.vocabulary import BUCKETS
from tierlab.prices import figures
from tierlab.prices.pricing import price

_MISSES = {
    "plain input": "uncached_input_tokens",
    "written for 5 minutes": "cache_write_short_tokens",
    "written for 1 hour": "cache_write_long_tokens",
}


class CostExplorer(Explorer):
    """A control that shows what a day of one kind of request costs on each model of the lineup, by bucket.

    Parameters
    ----------
    catalogues : mapping of str to Prices
        Price sources to choose from.
    requests_per_day, input_tokens, output_tokens : int
        Where the controls start.
    """

    size, margins = (7.2, 3.6), (2.3, 0.9, 0.5, 0.3)

    def __init__(
        self, catalogues, *, requests_per_day=1_000_000, input_tokens=500, output_tokens=300
    ):
        self.catalogues = dict(catalogues)
        super().__init__(
            catalogue=choice("prices", list(self.catalogues)),
            requests_per_day=nice_slider("requests per day", requests_per_day),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=100_000),
            output_tokens=nice_slider("output tokens per request", output_tokens, high=20_000),
            cache_hit_rate=share_slider("cache hit rate (% of input tokens)"),
            misses=choice("input outside the cache is", list(_MISSES)),
            batch_share=share_slider("batch share (% of requests)"),
        )

    def table(
        self,
        *,
        catalogue,
        requests_per_day,
        input_tokens,
        output_tokens,
        cache_hit_rate,
        misses,
        batch_share,
    ):
        prices = self.catalogues[catalogue]
        lineup = prices.lineup().stack().dropna().rename("model_id").reset_index()
        cached = round(input_tokens * cache_hit_rate)
        one = lineup.assign(
            cache_read_tokens=cached, output_tokens=output_tokens, uncached_input_tokens=0
        )
        one[_MISSES[misses]] = input_tokens - cached
        table = _priced(one, prices)
        parts = [*figures.COST_PARTS, "cost_usd"]
        if batch_share:
            batch = _priced(one.assign(batch=True), prices)
            table[parts] = table[parts] * (1 - batch_share) + batch[parts] * batch_share
            table["flags"] = batch["flags"]  # they include what is assumed of the model
        table[parts] *= requests_per_day
        return style.in_order(lineup.join(table))

    def draw(self, ax, table, **_):
        figures.cost_by_bucket(table, ax=ax)

    def words(self, table, *, catalogue, **_):
        priced = table[table["cost_usd"].notna()].sort_values("cost_usd", kind="stable")
        ends = (
            [f"{usd(row.cost_usd)} ({row.model_id})" for row in priced.iloc[[0, -1]].itertuples()]
            if len(priced)
            else []
        )
        text = f"Cost per day at the prices of {self.catalogues[catalogue].source}: {' to '.join(ends) or 'no model has a figure'}."
        gaps = len(table) - len(priced)
        return text + (
            f" {gaps} of {len(table)} models without a figure, see the table." if gaps else ""
        )

    def numbers(self, table, **_):
        shown = table[["model_id", "cost_usd", *figures.COST_PARTS, "flags"]]
        parts = [f"{part.removesuffix('_usd').replace('_', ' ')}" for part in figures.COST_PARTS]
        return shown.set_axis(
            ["model", "cost (USD per day)", *parts, "assumed, or why there is no figure"], axis=1
        )


def _priced(requests, prices):
    """Price each row; a row without a rate says which one is missing, so that the other models are still shown."""
    prefix = "batch_" if "batch" in requests else ""
    used = [
        bucket for bucket in BUCKETS if requests.get(f"{bucket}_tokens", pd.Series([0])).gt(0).any()
    ]
    rates = prices.base_rates(requests["model_id"])
    lacking = rates[[f"{prefix}{bucket}" for bucket in used]].isna().to_numpy()
    known = ~lacking.any(axis=1)
    table = price(requests[known], prices).astype({"flags": object}).reindex(requests.index)
    for row in np.flatnonzero(~known):
        names = ", ".join(used[i].replace("_", " ") for i in np.flatnonzero(lacking[row]))
        table.loc[requests.index[row], "flags"] = f"no {prefix.replace('_', ' ')}rate for {names}"
    return table
