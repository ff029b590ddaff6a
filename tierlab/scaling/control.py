"""Controls of cost: a day on three tiers, by bucket, and curves."""

import ipywidgets
import numpy as np
import pandas as pd

import tierlab as tl
from tierlab.core import style
from tierlab.core.explorer import (
    NICE,
    WIDE,
    Explorer,
    choice,
    nice_slider,
    share_slider,
    usd_or_not,
)
from tierlab.core.format import usd
from tierlab.prices import figures as prices_figures
from tierlab.scaling import figures

_MISSES = {
    "plain input": "uncached_input_tokens",
    "written for 5 minutes": "cache_write_short_tokens",
    "written for 1 hour": "cache_write_long_tokens",
}
_TOP = {
    "requests_per_day": 2_000_000,
    "input_tokens": 5_000,
    "output_tokens": 2_000,
    "cache_hit_rate": 1.0,
    "batch_share": 1.0,
}


class TierExplorer(Explorer):
    """What the three tiers of one provider cost per day.

    Parameters
    ----------
    prices : Prices
    provider : str, optional
        By default the first of the lineup.
    requests_per_day, input_tokens, output_tokens : int
        Where the controls start.
    """

    size, margins = (7.2, 2.1), (2.3, 2.2, 0.65, 0.1)

    def __init__(
        self,
        prices,
        *,
        provider=None,
        requests_per_day=1_000_000,
        input_tokens=500,
        output_tokens=300,
    ):
        self.prices = prices
        self._lineup = prices.lineup()
        providers = list(self._lineup.index)
        super().__init__(
            provider=choice("provider", providers, provider or providers[0]),
            requests_per_day=nice_slider("requests per day", requests_per_day),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=100_000),
            output_tokens=nice_slider("output tokens per request", output_tokens, high=20_000),
        )

    def table(self, *, provider, **shape):
        models = self._lineup.loc[provider].dropna().tolist()
        return style.in_order(tl.daily_cost(tl.Workload(**shape), self.prices, models))

    def draw(self, ax, table, **_):
        prices_figures.cost_bars(table, ax=ax)

    def words(self, table, **_):
        costs = "; ".join(f"{row.tier} {usd_or_not(row.cost_usd)}" for row in table.itertuples())
        return f"Cost per day at the prices of {self.prices.source}: {costs}."

    def numbers(self, table, **_):
        return table[["tier", "model_id", "cost_usd"]].set_axis(
            ["tier", "model", "cost (USD per day)"], axis=1
        )


class CostExplorer(Explorer):
    """What a day of one kind of request costs on each model of the lineup, by bucket.

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
        parts = [*prices_figures.COST_PARTS, "cost_usd"]
        if batch_share:
            batch = _priced(one.assign(batch=True), prices)
            table[parts] = table[parts] * (1 - batch_share) + batch[parts] * batch_share
            table["flags"] = batch[
                "flags"
            ]  # what is assumed of a batch rate includes what is assumed of the model
        table[parts] *= requests_per_day
        return style.in_order(lineup.join(table))

    def draw(self, ax, table, **_):
        prices_figures.cost_by_bucket(table, ax=ax)

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
        shown = table[["model_id", "cost_usd", *prices_figures.COST_PARTS, "flags"]]
        parts = [
            f"{part.removesuffix('_usd').replace('_', ' ')}" for part in prices_figures.COST_PARTS
        ]
        return shown.set_axis(
            ["model", "cost (USD per day)", *parts, "assumed, or why there is no figure"], axis=1
        )


class CurveExplorer(Explorer):
    """Cost per day over one variable of a workload, for any models.

    Parameters
    ----------
    prices : Prices
    models : sequence of str, optional
        Models to choose from; by default the lineup. The first three are chosen at the start.
    requests_per_day, input_tokens, output_tokens : int
        The workload where the variable is another one.
    """

    size, margins = (7.2, 3.6), (1.0, 1.9, 0.65, 0.35)

    def __init__(
        self,
        prices,
        *,
        models=None,
        requests_per_day=1_000_000,
        input_tokens=500,
        output_tokens=300,
    ):
        self.prices = prices
        self.workload = {
            "requests_per_day": requests_per_day,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }
        names = list(models or prices.models())
        over = ipywidgets.Dropdown(
            description="over", options=[(figures.OVER_LABELS[name], name) for name in _TOP], **WIDE
        )
        top = ipywidgets.SelectionSlider(
            description="up to", options=self._tops(over.value), continuous_update=False, **WIDE
        )
        top.value = _TOP[over.value]

        def retune(change):
            self._moving = True
            top.options = self._tops(change["new"])
            top.value = _TOP[change["new"]]
            self._moving = False

        over.observe(
            retune, names="value"
        )  # registered before the redraw, so that it never sees the old range
        chosen = ipywidgets.SelectMultiple(
            description="models", options=names, value=names[:3], rows=min(9, len(names)), **WIDE
        )
        super().__init__(over=over, top=top, models=chosen)

    @staticmethod
    def _tops(over):
        if over.endswith(("_rate", "_share")):
            return [(f"{percent}%", percent / 100) for percent in range(10, 101, 10)]
        return [(f"{top:,}", top) for top in NICE if top >= 100]

    def table(self, *, over, top, models):
        if not models:
            raise ValueError("no model is chosen")
        grid = np.linspace(0, top, 13)
        if not over.endswith(("_rate", "_share")):
            grid = np.unique(
                np.r_[
                    1, grid[1:].round(), self._cliffs(models, top) if over == "input_tokens" else []
                ].astype(int)
            )
        return tl.cost_curve(
            tl.Workload(**self.workload), self.prices, list(models), over=over, values=list(grid)
        )

    def _cliffs(self, models, top):
        """Both sides of each context step and window: a cliff must not look like a slope."""
        rows = self.prices.in_force()
        rows = rows[rows["model_id"].isin(models)]
        edges = (
            pd.concat([rows["context_above"], rows["context_window"]])
            .astype(float)
            .dropna()
            .unique()
        )
        edges = np.r_[edges, edges + 1]
        return edges[(edges >= 1) & (edges <= top)]

    def draw(self, ax, table, *, over, **_):
        figures.cost_curve(table, over=over, ax=ax)

    def words(self, table, *, over, **_):
        last = table[table[over] == table[over].max()]
        costs = "; ".join(f"{row.model_id} {usd_or_not(row.cost_usd)}" for row in last.itertuples())
        return f"At {figures.OVER_LABELS[over]} {_plain(table[over].max(), over)}, cost per day: {costs}. Prices: {self.prices.source}."

    def numbers(self, table, *, over, **_):
        wide = table.pivot(index=over, columns="model_id", values="cost_usd")[
            list(dict.fromkeys(table["model_id"]))
        ]
        wide = wide.iloc[np.unique(np.linspace(0, len(wide) - 1, 6).round().astype(int))]
        wide.insert(0, figures.OVER_LABELS[over], [_plain(value, over) for value in wide.index])
        return wide.rename(columns={model: f"{model} (USD per day)" for model in wide.columns[1:]})


def _priced(requests, prices):
    """Price each row; where a rate is missing the row says which, so that the other models are still shown."""
    prefix = "batch_" if "batch" in requests else ""
    used = [
        bucket
        for bucket in tl.BUCKETS
        if requests.get(f"{bucket}_tokens", pd.Series([0])).gt(0).any()
    ]
    rates = (
        prices.in_force()
        .drop_duplicates("model_id")
        .set_index("model_id")
        .reindex(requests["model_id"])
    )
    lacking = rates[[f"{prefix}{bucket}" for bucket in used]].isna().to_numpy()
    known = ~lacking.any(axis=1)
    table = tl.price(requests[known], prices).astype({"flags": object}).reindex(requests.index)
    for row in np.flatnonzero(~known):
        names = ", ".join(used[i].replace("_", " ") for i in np.flatnonzero(lacking[row]))
        table.loc[requests.index[row], "flags"] = f"no {prefix.replace('_', ' ')}rate for {names}"
    return table


def _plain(value, over):
    return f"{value:.0%}" if over.endswith(("_rate", "_share")) else f"{value:,.10g}"
