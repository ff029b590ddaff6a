"""Turn the settings of the app's panel into what it says: a headline, a sentence and three numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import pandas as pd

import tierlab as tl
from tierlab.core.format import change, share, usd
from tierlab.core.style import PROVIDER_NAMES
from tierlab.decide.recommend import Recommendation, error_cost_flip, rates_said, untested_said

DATES = {"June 2026": "2026-06-12", "November 2026": "2026-11-23"}
MONTH_DAYS = 365 / 12
SEED = 7
SHAPE = ("requests_per_day", "input_tokens", "output_tokens", "cache_hit_rate", "batch_share")


@lru_cache
def catalogue(month):
    """Return the maintained prices as of a day of `DATES`."""
    return tl.load_prices("maintained", as_of=DATES[month])


def lineups():
    """Return (label, (provider, month)) of each lineup that the app offers."""
    return [
        (f"{PROVIDER_NAMES.get(provider, provider)}, {month}", (provider, month))
        for month in DATES
        for provider in catalogue(month).lineup().index
    ]


@dataclass(frozen=True)
class Setting:
    """The settings of the panel and of the controls of the decision.

    Attributes
    ----------
    lineup : tuple
        Provider and month of `DATES`.
    requests_per_day, input_tokens, output_tokens : int
    cache_hit_rate, batch_share : float
        Shares of the input tokens and of the requests, 0-1.
    error_cost_usd, second_usd : float
        USD per wrong answer, and per second of waiting.
    task : str
        A task of data/tasks.csv.
    counts : dict
        Tier -> (wrong answers, examples) that the user counted.
    """

    lineup: tuple
    requests_per_day: int
    input_tokens: int
    output_tokens: int
    cache_hit_rate: float
    batch_share: float
    error_cost_usd: float
    second_usd: float
    task: str
    counts: dict = field(default_factory=dict)

    @property
    def prices(self):
        return catalogue(self.lineup[1])

    @property
    def models(self):
        """Model ids of the lineup by tier, a Series without the tiers that the provider lacks."""
        return self.prices.lineup().loc[self.lineup[0]].dropna()

    @property
    def shape(self):
        """The fields of the workload, as `tierlab.Workload` takes them."""
        return {name: getattr(self, name) for name in SHAPE}

    def __str__(self):
        provider, month = self.lineup
        return (
            f"{PROVIDER_NAMES.get(provider, provider)}, {month}; {self.requests_per_day:,} requests a day, "
            f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out, {self.cache_hit_rate:.0%} cached, "
            f"{self.batch_share:.0%} in batch, {usd(self.error_cost_usd)} an error"
        )


@dataclass(frozen=True)
class Said:
    """What a tab says.

    Attributes
    ----------
    headline, words : str
    cards : sequence of (label, value, note)
        Three numbers.
    tier : str
        The tier whose mark stands before the headline, or "" for none.
    """

    headline: str
    words: str
    cards: Sequence
    tier: str = ""


@dataclass(frozen=True, eq=False)
class Answer:
    """The decision for a setting, as `answer` returns it.

    Attributes
    ----------
    setting : Setting
    found : Recommendation
    days : DataFrame
        `found.table` in USD per day, the lowest total first, without models that do not run.
    """

    setting: Setting
    found: Recommendation
    days: pd.DataFrame

    @cached_property
    def said(self):
        """Headline, sentence and three numbers of the decision, a `Said`."""
        found, best = self.found, self.days.iloc[0]
        headline = f"Start with the {found.tier} tier: {found.model_id}"
        if found.close:
            tiers = self.days.set_index("model_id").loc[list(found.close), "tier"]
            headline = f"Too close to call: {' or '.join(tiers)} tier"
        words = f"{found.model_id} costs {usd(best['expected_usd'])} a day, errors included (error rates: {rates_said(found)})."
        words = f"{untested_said(found)} {words}".lstrip()
        if len(self.days) > 1:
            second = self.days.iloc[1]
            gap = usd(second["expected_usd"] - best["expected_usd"])
            words += (
                f" The {second['tier']} tier is {gap} behind and wins in "
                f"{second['best_share']:.0%} of the draws."
            )
        words += f" {found.next_step.partition(' `')[0]}"  # without the command
        return Said(headline, words, self._cards(best), found.tier)

    def _cards(self, best):
        cost = usd(self.setting.error_cost_usd)
        parts = f"{usd(best['price_usd'])} price + {usd(best['error_usd'])} errors ({share(best['error_rate'])} at {cost})"
        if best["time_usd"]:
            parts += f" + {usd(best['time_usd'])} waiting"
        each = usd(best["price_usd"] / self.setting.requests_per_day)
        flip = error_cost_flip(self.found)
        sides = [f"{side} {usd(flip[side])}" for side in ("below", "above") if flip[f"{side}_to"]]
        turns = f"turns {' and '.join(sides)} an error" if sides else "no cost of an error turns it"
        return (
            ("A day, errors included", usd(best["expected_usd"]), parts),
            ("The bill alone, a month", usd(self.month_usd), f"{each} a request, 30.4 days"),
            ("How firm", f"{best['best_share']:.0%} of draws", turns),
        )

    @property
    def month_usd(self):
        """What the provider bills for the chosen model in a month, USD."""
        return self.days["price_usd"].iloc[0] * MONTH_DAYS


def answer(setting):
    """Decide for a setting.

    Parameters
    ----------
    setting : Setting

    Returns
    -------
    Answer

    Raises
    ------
    ValueError
        As from `tierlab.recommend`.
    """
    found = tl.recommend(
        task=setting.task,
        error_cost_usd=setting.error_cost_usd,
        second_usd=setting.second_usd,
        workload=tl.Workload(**setting.shape),
        prices=setting.prices,
        provider=setting.lineup[0],
        evidence=tl.Evidence(error_counts=setting.counts),
        seed=SEED,
    )
    days = found.running().reset_index(drop=True)
    money = ["price_usd", "error_usd", "time_usd", "expected_usd", "low", "high"]
    days[money] *= setting.requests_per_day
    return Answer(setting, found, days)


def difference(now, kept):
    """Say how much more or less a kept scenario costs than today's.

    Parameters
    ----------
    now, kept : Answer

    Returns
    -------
    day, bill : str
        The difference a day, errors included; and that of the bill a month, with the models.
    """
    day = kept.days["expected_usd"].iloc[0] - now.days["expected_usd"].iloc[0]
    bill = kept.month_usd - now.month_usd
    tiers = f"{now.found.model_id} in both"
    if now.found.model_id != kept.found.model_id:
        tiers = f"{kept.found.model_id} in place of {now.found.model_id}"
    return f"{change(day)} a day", f"{change(bill)} a month on the bill; {tiers}"
