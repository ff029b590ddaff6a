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
        self.router_usd = router_usd
        self.names = [f"always {weak}", "router", f"always {strong}"]
        # what the strong model's answers alone cost at each point of the curve, per request
        cost = outcomes.loc[outcomes["model_id"] == strong].set_index("prompt_id")["cost_usd"]
        ranked = cost.loc[router_score.sort_values(ascending=False, kind="stable").index]
        calls = self.curve["strong_calls"].to_numpy()
        self.strong_usd = np.append(0.0, np.cumsum(ranked))[calls] / len(ranked)
        ranges = {
            "share": ("strong calls (share)", 0.2, 0, 1, 0.01, ".0%"),
            "factor": ("strong price (times today's)", 1, 0.1, 3, 0.1, ".2f"),
            "error_usd": ("error cost (USD)", 0.05, 0, 1, 0.01, ".2f"),
        }
        sliders = {}
        for name, (label, value, low, high, step, shown) in ranges.items():
            sliders[name] = ipywidgets.FloatSlider(
                description=label,
                value=value,
                min=low,
                max=high,
                step=step,
                readout_format=shown,
                continuous_update=False,
                **WIDE,
            )
        super().__init__(**sliders)

    def table(self, *, share, factor, error_usd):
        at = (self.curve["strong_share"] - share).abs().argmin()
        rows = self.curve[["strong_share", "score", "cost_usd"]].iloc[[0, at, -1]]
        more = (factor - 1) * self.strong_usd[[0, at, -1]] + [0.0, self.router_usd, 0.0]
        table = rows.assign(cost_usd=rows["cost_usd"] + more)
        table.insert(0, "choice", self.names)
        return table.assign(all_in_usd=table["cost_usd"] + (1 - table["score"]) * error_usd)

    def draw(self, ax, table, **_):
        marks = table.iloc[[1]].rename(columns={"choice": "label"})
        figures.routing_curve(self.curve, marks=marks, ax=ax)

    def words(self, table, *, error_usd, **_):
        best = table["choice"].iloc[table["all_in_usd"].argmin()]
        row, strong = table.iloc[1], table.iloc[2]
        saving = 1 - row["cost_usd"] / strong["cost_usd"]
        money = f"saves {saving:.0%} of the strong model's cost"
        if saving < 0:
            money = f"costs {-saving:.0%} more than the strong model"
        return (
            f"At {row['strong_share']:.0%} strong calls the router scores {row['score']:.1%} and {money}; "
            f"with {usd(error_usd)} an error the cheapest choice is: {best}."
        )

    def numbers(self, table, **_):
        return pd.DataFrame(
            {
                "choice": table["choice"],
                "score (%)": 100 * table["score"],
                "cost (USD per 1,000)": 1000 * table["cost_usd"],
                "with errors (USD per 1,000)": 1000 * table["all_in_usd"],
            }
        )
