"""The app's tabs after the first: an existing control each, moved by the shared panel, with its three numbers.

A tab builds a control for a setting, anew where its `key` differs, else hands it the setting (`follow`), and says in
words what it shows (`said`).
"""

from functools import lru_cache

import pandas as pd

import tierlab as tl
from tierlab.app.answer import DATES, Said, catalogue
from tierlab.core.explorer import usd_or_not
from tierlab.core.format import share, usd
from tierlab.prices.control import CostExplorer
from tierlab.reasoning.control import DistillationExplorer
from tierlab.routing.control import RouterExplorer
from tierlab.routing.simulated import default_models, default_tasks
from tierlab.sampling.cases import read_cases
from tierlab.sampling.control import SampleExplorer
from tierlab.scaling.control import CurveExplorer
from tierlab.speed.control import LatencyExplorer

PROMPTS = 4_000  # simulated, for the router
MACHINE_HOUR_USD = 0.05  # an open model has no price per token


class Tab:
    """What all tabs share: a control of its own for each lineup."""

    def key(self, setting):
        return setting.lineup


class Cost(Tab):
    """A day on each model of all lineups, by what the money goes into."""

    note = "Every lineup of the month, so that providers stand side by side."

    def build(self, setting):
        return CostExplorer({month: catalogue(month) for month in DATES})

    def follow(self, explorer, setting):
        explorer.given = {"catalogue": setting.lineup[1], **setting.shape}

    def said(self, explorer, table, setting):
        own = table[table["provider"] == setting.lineup[0]].set_index("tier")["cost_usd"]
        own = own.reindex(setting.models.index)
        cards = [
            (
                f"A day on {tier}",
                usd_or_not(own[tier]),
                f"{setting.models[tier]}, {usd_or_not(own[tier] / setting.requests_per_day)} a request",
            )
            for tier in own.index
        ]
        headline = f"A day costs {usd_or_not(own.min())} to {usd_or_not(own.max())}, before errors"
        return Said(headline, explorer.summary, cards)


class Growth(Tab):
    """The bill over requests, tokens, cache or batch."""

    note = "What stands on the axis runs from nothing to the end of the range; all else is the panel's."

    def build(self, setting):
        return CurveExplorer(setting.prices, models=setting.models.tolist())

    def follow(self, explorer, setting):
        explorer.workload = setting.shape

    def said(self, explorer, table, setting):
        over = explorer.values()["over"]
        last = table[table[over] == table[over].max()]
        label = explorer.controls["top"].label
        cards = [
            (f"{row.model_id}, a day", usd_or_not(row.cost_usd), f"at the end of the axis, {label}")
            for row in last.head(3).itertuples()
        ]
        costs = last["cost_usd"]
        headline = (
            f"It grows to between {usd_or_not(costs.min())} and {usd_or_not(costs.max())} a day"
        )
        return Said(headline, explorer.summary, cards)


class Router(Tab):
    """One threshold between the small model and the flagship of the lineup."""

    note = (
        f"Simulated: {PROMPTS:,} prompts of the task and its tokens, at the error rates that the decision assumes. "
        "Lengths spread around those of the panel; caches and batches are left out."
    )

    def key(self, setting):
        return setting.lineup, setting.task, setting.input_tokens, setting.output_tokens

    def build(self, setting):
        models = default_models().loc[setting.models.index].assign(model_id=setting.models)
        tokens = {name: setting.shape[name] for name in ("input_tokens", "output_tokens")}
        tasks = default_tasks().loc[[setting.task]].assign(share=1.0, **tokens)
        outcomes = tl.simulate_outcomes(
            PROMPTS, seed=7, tasks=tasks, models=models, prices=setting.prices
        )
        score = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")["router_signal"]
        weak, strong = setting.models.iloc[[0, -1]]
        return RouterExplorer(outcomes, score, weak=weak, strong=strong)

    def follow(self, explorer, setting):
        explorer.given = {"error_usd": setting.error_cost_usd}

    def said(self, explorer, table, setting):
        costs = table["all_in_usd"] * setting.requests_per_day
        best = costs.idxmin()
        cards = [
            (
                f"{row.choice[0].upper()}{row.choice[1:]}, a day",
                usd(row.all_in_usd * setting.requests_per_day),
                f"errors included; {share(row.score)} right",
            )
            for row in table.itertuples()
        ]
        choice = table.at[best, "choice"]
        return Said(f"Cheapest, errors included: {choice}", explorer.summary, cards)


class Samples(Tab):
    """A hundred recorded examples on three open models."""

    note = (
        "A hundred examples, answered by three open models and recorded, at what the machine's time costs; "
        "of the panel, the cost of an error counts here. The command tierlab sample runs your own."
    )

    def build(self, setting):
        return SampleExplorer(recorded())

    def follow(self, explorer, setting):
        explorer.given = {"error_usd": setting.error_cost_usd}

    def said(self, explorer, table, setting):
        rows = explorer.numbers(table, **explorer.values())
        cards = [
            (row["model"], f"{row['score (%)']:.1f}% right", f"{row['answers']:,} answers scored")
            for row in rows.to_dict("records")
        ]
        choice = explorer.found.choice
        headline = f"Good enough: {choice}" if choice else "Not told yet"
        if choice == explorer.found.reference:
            headline = f"Stay with {choice}"
        return Said(headline, explorer.summary, cards)


@lru_cache
def recorded():
    """The kit's own examples, with the machine's time as the cost of answers that have no price."""
    return read_cases("open_models", machine_usd_per_hour=MACHINE_HOUR_USD)


class Speed(Tab):
    """Which share of requests a mix of two tiers answers within a limit."""

    note = "Speeds are known of the lineup of June 2026, at the prices of the panel's date; batch and cache are left out."

    def build(self, setting):
        return LatencyExplorer(setting.prices, provider=setting.lineup[0])

    def follow(self, explorer, setting):
        explorer.input_tokens = setting.input_tokens
        explorer.given = {
            "provider": setting.lineup[0],
            "output_tokens": setting.output_tokens,
        }

    def said(self, explorer, table, setting):
        mix, thousands = table.loc["mix"], setting.requests_per_day / 1000
        within = f"{share(mix['low'])} to {share(mix['high'])} as speeds vary"
        cards = (
            ("Within the limit", share(mix["share"]), within),
            ("Price of a day", usd(mix["price_usd"] * thousands), mix["model"]),
            ("Waiting, a day", usd(mix["wait_usd"] * thousands), "at the value of an hour"),
        )
        limit = explorer.values()["slo_s"]
        return Said(f"{share(mix['share'])} within {limit:g} seconds", explorer.summary, cards)


class OwnModel(Tab):
    """When a small model of your own has paid for itself."""

    note = "The teacher is the lineup's flagship, and all requests go to the student; caches and batches are left out."

    def build(self, setting):
        return DistillationExplorer(setting.prices)

    def follow(self, explorer, setting):
        names = ("requests_per_day", "input_tokens", "output_tokens")
        explorer.given = {name: setting.shape[name] for name in names}
        explorer.given |= {
            "error_usd": setting.error_cost_usd,
            "teacher": setting.models.iloc[-1],
        }

    def said(self, explorer, table, setting):
        found = explorer.found["value"]
        paid = not pd.isna(found["on"])
        days = f"{found['days']:,.0f} days" if paid else f"not in {explorer.months} months"
        cards = (
            ("Paid back after", days, f"on {found['on']:%Y-%m-%d}" if paid else ""),
            ("Once", usd(found["fixed_usd"]), "labels, people and training"),
            ("Saved per 1,000 requests", usd(1000 * found["saving_usd"]), "its errors included"),
        )
        headline = "A model of your own pays" if paid else "A model of your own does not pay"
        return Said(headline, explorer.summary, cards)


TABS = {
    "Cost": Cost(),
    "Growth": Growth(),
    "Router": Router(),
    "Samples": Samples(),
    "Speed": Speed(),
    "Own model": OwnModel(),
}
