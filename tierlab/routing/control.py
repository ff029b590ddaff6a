"""The controls of the routing lab."""

import ipywidgets
import numpy as np
import pandas as pd

import tierlab as tl
from tierlab.core.explorer import WIDE, Explorer, choice, nice_slider, share_slider
from tierlab.core.format import share as percent
from tierlab.core.format import usd
from tierlab.routing import figures
from tierlab.routing.payback import day_costs, payback
from tierlab.routing.policies import RandomMix
from tierlab.routing.sessions import (
    Caches,
    equal_conversations,
    session_policies,
)
from tierlab.routing.verdict import compare_conversations


class RouterExplorer(Explorer):
    """Show a point on the curve of a router: what it costs, what it scores, and what it is worth at your error cost.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table, with costs.
    router_score : Series
        Scores indexed by prompt_id; higher ones go to the strong model.
    weak, strong : str
        Model ids.
    """

    size, margins = (7.2, 3.6), (0.9, 0.3, 0.65, 0.2)

    def __init__(self, outcomes, router_score, *, weak, strong):
        self.curve = tl.cost_quality_curve(outcomes, router_score, weak=weak, strong=strong)
        self.names = [f"always {weak}", "router", f"always {strong}"]
        # the part of the cost per request that the strong model's answers make, at each point of the curve
        cost = outcomes.loc[outcomes["model_id"] == strong].set_index("prompt_id")["cost_usd"]
        ranked = cost.loc[router_score.sort_values(ascending=False, kind="stable").index]
        calls = self.curve["strong_calls"].to_numpy()
        self.strong_usd = np.append(0.0, np.cumsum(ranked))[calls] / len(ranked)
        ranges = {
            "share": ("strong calls (share)", 0.2, 0, 1, 0.01, ".0%"),
            "factor": ("strong price (times today's)", 1, 0.1, 3, 0.1, ".2f"),
            "error_usd": ("error cost (USD)", 0.1, 0, 1, 0.01, ".2f"),
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
        more = (factor - 1) * self.strong_usd[[0, at, -1]]
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


class PaybackExplorer(Explorer):
    """Show what a day costs with each policy, and the days until the best router is paid back.

    Parameters
    ----------
    means : DataFrame
        By policy: score and usd_per_1000, as `tierlab.compare_policies` estimates them.
    policies : mapping of str to Policy
        Policies by name.
    requests_per_day, error_cost_usd, build_cost_usd : float
        Values at which the sliders start.
    """

    size, margins = (4.6, 3.4), (0.65, 0.3, 0.65, 0.35)

    def __init__(self, means, policies, *, requests_per_day, error_cost_usd, build_cost_usd):
        self.means, self.policies = means, policies
        costs = sorted({0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, error_cost_usd})
        super().__init__(
            requests_per_day=nice_slider("messages a day", requests_per_day, low=1_000),
            error_cost_usd=ipywidgets.SelectionSlider(
                description="cost of an error",
                options=[(usd(cost), cost) for cost in costs],
                value=error_cost_usd,
                continuous_update=False,
                **WIDE,
            ),
            build_cost_usd=nice_slider(
                "building it costs (USD)", round(build_cost_usd), low=1_000, high=1_000_000
            ),
        )

    def table(self, *, requests_per_day, error_cost_usd, **_):
        return day_costs(
            self.means, requests_per_day=requests_per_day, error_cost_usd=error_cost_usd
        )

    def draw(self, ax, _table, **values):
        figures.days_to_payback(payback(self.means, self.policies, **values), ax=ax)

    def words(self, _table, **values):
        pay = payback(self.means, self.policies, **values)
        return f"{pay.headline()}. {pay.words()}"

    def numbers(self, table, **_):
        heads = {name: f"{name} (USD a day)" for name in ("total", "price", "errors")}
        return table[list(heads)].rename(columns=heads).reset_index(names="policy")


class ConversationExplorer(Explorer):
    """Show what a policy saves in conversations: promised by its shares of turns, and replayed with each model's cache.

    Parameters
    ----------
    prices : Prices
        Prices with rates of prompt caches.
    shape : tierlab.core.product.Conversation
        Where the sliders start.
    small, flagship : str
        Model ids.
    sessions : int
        Number of conversations to replay, all of the same lengths; chance decides which model each turn goes to.
    """

    size, margins = (7.2, 1.9), (1.9, 0.4, 0.7, 0.2)

    def __init__(self, prices, shape, *, small, flagship, sessions=400):
        self.caches, self.shape, self.sessions = Caches(prices), shape, sessions
        self.small, self.flagship = small, flagship
        super().__init__(
            turns=ipywidgets.IntSlider(
                description="turns",
                value=shape.turns,
                min=2,
                max=12,
                continuous_update=False,
                **WIDE,
            ),
            system_tokens=nice_slider(
                "system prompt (tokens)", shape.system_tokens, low=1_000, high=100_000
            ),
            small_share=share_slider("turns to the small model (share)", 0.8),
            policy=choice(
                "policy", ["per turn", "per conversation", "escalate only", "switch gate"]
            ),
        )

    def table(self, *, turns, system_tokens, small_share, policy):
        shape = self.shape.model_copy(update={"turns": turns, "system_tokens": system_tokens})
        quality = {self.small: 1.0, self.flagship: 1.0}  # savings only: the scores are not shown
        mix = RandomMix({self.small: small_share, self.flagship: 1 - small_share})
        policies = session_policies(
            mix, shape, self.caches.prices, small=self.small, flagship=self.flagship
        )
        return compare_conversations(
            equal_conversations(shape, quality, sessions=self.sessions),
            {policy: policies[policy]},
            self.caches,
            reference=self.flagship,
            seed=7,
            resamples=1,
        )

    def draw(self, ax, table, **_):
        figures.conversation_savings(table, interval="", ax=ax)

    def words(self, table, *, policy, **_):
        row = table.iloc[0]
        return (
            f"{policy}: the shares of turns promise a saving of {percent(row['promised'])}; replayed with each "
            f"model's own cache it is {percent(row['saving'])}, with {row['switches']:.1f} changes of model a conversation."
        )

    def numbers(self, table, **_):
        return pd.DataFrame(
            {
                "policy": table.index,
                "saving, replayed (%)": 100 * table["saving"],
                "saving, promised (%)": 100 * table["promised"],
                "a conversation (USD)": table["usd_per_session"].map(usd),
            }
        )
