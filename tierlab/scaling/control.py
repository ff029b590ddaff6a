"""The controls of cost: a day on three tiers, and curves."""

import ipywidgets
import numpy as np

import tierlab as tl
from tierlab.core import style
from tierlab.core.explorer import (
    NICE,
    WIDE,
    Explorer,
    choice,
    nice_slider,
    usd_or_not,
)
from tierlab.prices.figures import cost_bars
from tierlab.scaling import figures

_TOP = {
    "requests_per_day": 2_000_000,  # in a control: twice its own, rounded up
    "input_tokens": 5_000,
    "output_tokens": 2_000,
    "cache_hit_rate": 1.0,
    "batch_share": 1.0,
}


class TierExplorer(Explorer):
    """A control that shows what the three tiers of one provider cost per day.

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
        cost_bars(table, ax=ax)

    def words(self, table, **_):
        costs = "; ".join(f"{row.tier} {usd_or_not(row.cost_usd)}" for row in table.itertuples())
        return f"Cost per day at the prices of {self.prices.source}: {costs}."

    def numbers(self, table, **_):
        return table[["tier", "model_id", "cost_usd"]].set_axis(
            ["tier", "model", "cost (USD per day)"], axis=1
        )


class CurveExplorer(Explorer):
    """A control that shows the cost per day over one variable of a workload, for any models.

    Parameters
    ----------
    prices : Prices
    models : sequence of str, optional
        Models to choose from; by default the lineup. The first three are chosen at the start.
    requests_per_day, input_tokens, output_tokens : int
        The workload, apart from the variable that is chosen.
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
        self._top = _TOP | {
            "requests_per_day": next((n for n in NICE if n >= 2 * requests_per_day), NICE[-1])
        }
        names = list(models or prices.models())
        over = ipywidgets.Dropdown(
            description="over", options=[(figures.OVER_LABELS[name], name) for name in _TOP], **WIDE
        )
        top = ipywidgets.SelectionSlider(
            description="up to", options=self._tops(over.value), continuous_update=False, **WIDE
        )
        top.value = self._top[over.value]

        def retune(change):
            self._moving = True
            top.options = self._tops(change["new"])
            top.value = self._top[change["new"]]
            self._moving = False

        # Registered before the redraw, so that the redraw never sees the old range.
        over.observe(retune, names="value")
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
        """Return both sides of each context step and window, so that a cliff does not look like a slope."""
        rows = self.prices.in_force()
        rows = rows.loc[rows["model_id"].isin(models), ["context_above", "context_window"]]
        edges = np.unique(rows.to_numpy(float))
        edges = np.r_[edges, edges + 1]
        return edges[(edges >= 1) & (edges <= top)]

    def draw(self, ax, table, *, over, **_):
        figures.cost_curve(table, over=over, ax=ax)

    def words(self, table, *, over, **_):
        last = table[table[over] == table[over].max()]
        costs = "; ".join(f"{row.model_id} {usd_or_not(row.cost_usd)}" for row in last.itertuples())
        return f"At {_plain(table[over].max(), over)} {figures.OVER_LABELS[over]}, cost per day: {costs}. Prices: {self.prices.source}."

    def numbers(self, table, *, over, **_):
        wide = table.pivot(index=over, columns="model_id", values="cost_usd")[
            list(dict.fromkeys(table["model_id"]))
        ]
        wide = wide.iloc[np.unique(np.linspace(0, len(wide) - 1, 6).round().astype(int))]
        wide.insert(0, figures.OVER_LABELS[over], [_plain(value, over) for value in wide.index])
        return wide.rename(columns={model: f"{model} (USD per day)" for model in wide.columns[1:]})


def _plain(value, over):
    return f"{value:.0%}" if over.endswith(("_rate", "_share")) else f"{value:,.10g}"
