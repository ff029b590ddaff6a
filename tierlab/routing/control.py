"""The control of the routing lab."""

import ipywidgets
import numpy as np
import pandas as pd

import tierlab as tl
from tierlab.core.explorer import WIDE, Explorer
from tierlab.core.format import usd
from tierlab.routing import figures


class RouterExplorer(Explorer):
    """A point on the curve of a router: what it costs, what it scores, and what it is worth at your error cost.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table, with costs.
    router_score : Series
        Indexed by prompt_id; higher goes to the strong model.
    weak, strong : str
        Model ids.
    router_usd : float
        The router's own call, USD per request.
    """

    size, margins = (7.2, 3.6), (0.9, 0.3, 0.65, 0.2)

    def __init__(self, outcomes, router_score, *, weak, strong, router_usd=0.0):
        self.curve = tl.cost_quality_curve(outcomes, router_score, weak=weak, strong=strong)
        self.router_usd, self.names = router_usd, (weak, strong)
        ends = self.curve.iloc[[0, -1]]
        self._usd, self._score = ends["cost_usd"].to_numpy(), ends["score"].to_numpy()
        cost = outcomes.loc[outcomes["model_id"] == strong].set_index("prompt_id")["cost_usd"]
        ranked = cost.reindex(
            router_score.sort_values(ascending=False, kind="stable").index
        ).to_numpy()
        calls = self.curve["strong_calls"].to_numpy()
        self._strong_usd = np.append(0.0, np.cumsum(ranked))[calls] / len(
            ranked
        )  # what the strong answers alone cost
        slider = ipywidgets.FloatSlider
        super().__init__(
            share=slider(description="strong calls (share)", value=0.2, max=1, step=0.01, readout_format=".0%", continuous_update=False, **WIDE),
            factor=slider(description="strong price (times today's)", value=1, min=0.1, max=3, step=0.1, continuous_update=False, **WIDE),
            error_usd=slider(description="error cost (USD)", value=0.05, max=1, step=0.01, readout_format=".2f", continuous_update=False, **WIDE),
        )  # fmt: skip

    def table(self, *, share, factor, error_usd):
        at = int((self.curve["strong_share"] - share).abs().to_numpy().argmin())
        routed = (
            self.curve["cost_usd"].iloc[at] + (factor - 1) * self._strong_usd[at] + self.router_usd
        )
        usd_ = [self._usd[0], routed, self._usd[1] * factor]
        score = [self._score[0], self.curve["score"].iloc[at], self._score[1]]
        share_ = [0.0, self.curve["strong_share"].iloc[at], 1.0]
        rows = {
            "choice": [f"always {self.names[0]}", "router", f"always {self.names[1]}"],
            "strong_share": share_,
            "score": score,
            "cost_usd": usd_,
        }
        table = pd.DataFrame(rows)
        return table.assign(all_in_usd=table["cost_usd"] + (1 - table["score"]) * error_usd)

    def draw(self, ax, table, **_):
        marks = table.iloc[[1]].rename(columns={"choice": "label"})
        figures.routing_curve(self.curve, marks=marks, ax=ax)

    def words(self, table, *, error_usd, **_):
        best = table.loc[table["all_in_usd"].idxmin(), "choice"]
        saving = 1 - table["cost_usd"].iloc[1] / table["cost_usd"].iloc[2]
        money = (
            f"saves {saving:.0%} of the strong model's cost"
            if saving >= 0
            else f"costs {-saving:.0%} more than the strong model"
        )
        return (
            f"At {table['strong_share'].iloc[1]:.0%} strong calls the router scores {table['score'].iloc[1]:.1%} and {money}; "
            f"with {usd(error_usd)} an error the cheapest choice is: {best}."
        )

    def numbers(self, table, **_):
        thousand = table.assign(
            cost=1000 * table["cost_usd"],
            all_in=1000 * table["all_in_usd"],
            score=100 * table["score"],
        )
        names = {
            "score": "score (%)",
            "cost": "cost (USD per 1,000)",
            "all_in": "with errors (USD per 1,000)",
        }
        return thousand[["choice", "score", "cost", "all_in"]].rename(columns=names)
