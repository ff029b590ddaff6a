"""What could be saved next quarter, ranked: another tier, batch, the cache, a model's successor, spend nobody meant.

The sections of the quarterly report that set own tokens against other prices: changes, retirements, bills.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, unknown
from tierlab.evaluate.compare import compare
from tierlab.evaluate.planning import required_examples
from tierlab.prices.catalog import Prices
from tierlab.prices.pricing import (
    TIER_LABELS,
    changes_of,
    in_batch,
    labelled,
    on_model,
    repriced,
    tiers_of,
)

COLUMNS = ["kind", "what", "usd", "spend_usd", "spend_share", "status", "assumes", "needs"]
COLUMNS += ["scheduled", "task", "model_id", "to", "team"]
DISCORDANT = (
    0.10  # share of examples on which two near-equal models disagree; plans the number of examples
)
UNKNOWN_STAKES = "stakes not said"
HELD = ("worse", "against the task table", UNKNOWN_STAKES)
SMALL = 0.005  # a saving of less than this part of the quarter's spend is not worth a decision
_HARDLY = 0.1  # a team that spent less than this share of what it spends now was not meant to


def savings(now, prices, on, *, events=None, may_wait=None, outcomes=None, margin=None, tasks=None):
    """Proposals with US dollars per quarter, on the quarter's own tokens at the rates of the quarter ahead.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    prices : Prices
    on : Timestamp
        The day on which one stands, whose lineup applies. Rates are the mean of those scheduled for the first whole
        quarter from this day on.
    events : DataFrame, optional
        From `tierlab.quarter.outlook`: caches that broke, and teams that suddenly spend.
    may_wait : sequence of str, optional
        Tasks whose answers may take a day; by default those of which some requests are in batch already.
    outcomes : DataFrame, optional
        Scores of both models settle the status of a move, by `tierlab.compare` with `margin`.
    margin : float, optional
        How much worse a cheaper model may be (0-1).
    tasks : mapping of str to str, optional
        The log's names of tasks -> those of data/tasks.csv, where they differ.

    Returns
    -------
    DataFrame
        kind ("stop", "cache", "move", "batch", "replace", "errors"), what, usd (US dollars per quarter ahead), spend_usd
        (what it concerns cost in this quarter) and spend_share (its share of this quarter's spend), status ("to test",
        "not worse", "worse", "cannot tell", "against the task table", "stakes not said", ""), assumes, needs, scheduled
        (which rates change until the end of the quarter ahead, and when; "" for none), task, model_id, to, team; the
        largest first. They are not additive: two can concern the same tokens (`decisions` picks some that do not).
        Savings under half a per cent of the spend are left out; so is a model without a rate for what is proposed.

    Raises
    ------
    ValueError
        If `tasks` names a task that the log or the task table does not have.

    Notes
    -----
    A move goes one tier down within the provider's lineup, tokens taken over as they are. The task table
    (data/tasks.csv, after the article) holds back a move below the lowest tier of a task. Of a task that it does not
    know nobody has said what a wrong answer costs: a move is held back until a test or `tasks` says more.
    """
    ahead, known = Ahead(prices, pd.Timestamp(on)), _known_tasks(now, tasks or {})
    rows = [
        *_moves(now, ahead, outcomes, margin, known),
        *_batches(now, ahead, may_wait),
        *_replacements(now, ahead, margin),
        *(_event_savings(now, ahead, events) if events is not None else ()),
        *_errors(now),
    ]
    spend = now["cost_usd"].sum()
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "spend_share"])
    table["spend_share"] = table["spend_usd"] / spend
    dated = table["scheduled"] != ""
    table.loc[dated, "assumes"] += (
        f"; the mean rates of {ahead.period}: " + table.loc[dated, "scheduled"]
    )
    table = table[table["usd"] >= SMALL * spend]
    return table.sort_values("usd", ascending=False, kind="stable")[COLUMNS].reset_index(drop=True)


def decisions(table, now, count=3):
    """The largest savings that are not held back and do not concern the same tokens twice."""
    taken, picked = set(), []
    cells = _cells(now)
    for place, row in table.iterrows():
        mine = {
            c
            for c in cells
            if all(row[key] in ("", c[i]) for i, key in enumerate(("task", "model_id", "team")))
        }
        if row["status"] not in HELD and not mine & taken and len(picked) < count:
            taken |= mine
            picked.append(place)
    return table.loc[picked].reset_index(drop=True)


def _cells(now):
    columns = [
        labelled(now[c]) if c in now else pd.Series("", now.index)
        for c in ("task", "model_id", "team")
    ]
    return set(zip(*columns, strict=True))


def _known_tasks(now, tasks):
    """The log's names -> the lowest tier of the task that each stands for in the task table."""
    low = load_tasks()["tier_low"].to_dict()
    own = set(labelled(now["task"])) if "task" in now else set()
    for name, ours in tasks.items():
        if name not in own:
            raise ValueError(unknown("task of the log", name, sorted(own)))
        if ours not in low:
            raise ValueError(f"the task {name!r} of the log: {unknown('task', ours, sorted(low))}")
    return low | {name: low[ours] for name, ours in tasks.items()}


def _groups(now):
    """Rows by task (or all together) and model."""
    task = labelled(now["task"]) if "task" in now else pd.Series("", now.index)
    for (name, model_id), own in now.groupby([task, now["model_id"].astype(object)]):
        yield name, model_id, own


def _row(kind, what, usd, rows, **more):
    row = {
        "kind": kind,
        "what": what,
        "usd": float(usd),
        "spend_usd": float(rows["cost_usd"].sum()),
    }
    return row | dict.fromkeys(("scheduled", "task", "model_id", "to", "team", "status"), "") | more


def _on(task):
    return f"{task} " if task else "everything "


def _another(ahead, own, model_id, to):
    """What holds of every change of model: its dollars, and the prices that are scheduled."""
    usd = ahead.cost(own) - ahead.cost_on(own, to)
    return {
        "usd": usd,
        "rows": own,
        "model_id": model_id,
        "to": to,
        "scheduled": ahead.changes(model_id, to),
    }


def _moves(now, ahead, outcomes, margin, low):
    for task, model_id, own in _groups(now):
        to = successor(ahead.prices, model_id, ahead.on, steps_down=1)
        if not to:
            continue
        tier = tiers_of(ahead.prices, [to], [ahead.on])[0]
        status = "to test" if task in low else UNKNOWN_STAKES
        if task in low and TIERS.index(tier) < TIERS.index(low[task]):
            status = "against the task table"
        yield _row(
            "move",
            f"{_on(task)}from {model_id} to {to} ({tier})",
            **_another(ahead, own, model_id, to),
            task=task,
            status=_finding(outcomes, task, model_id, to, margin) or status,
            assumes="as many tokens on the cheaper model, and no context step of its own",
            needs=_test(model_id, margin),
        )


def _finding(outcomes, task, model_id, to, margin):
    """What the outcomes say of a move; "" where they do not hold both models, or there is no margin."""
    if outcomes is None or margin is None:
        return ""
    own = outcomes[outcomes["model_id"].isin([model_id, to])]
    own = own[own["task"] == task] if "task" in own else own
    if own["model_id"].nunique() < 2:
        return ""
    return compare(own, reference=model_id, margin=margin).pairs.at[to, "finding"]


def _test(model_id, margin):
    wanted = margin or 0.05
    examples = required_examples(margin=wanted, discordant=DISCORDANT)
    return (
        f"a test of non-inferiority: tl.compare(samples, reference={model_id!r}, margin={wanted:g}), "
        f"about {examples:,} examples if one in ten answers differs"
    )


def _batches(now, ahead, may_wait):
    if "batch" not in now:
        return
    for task, model_id, own in _groups(now):
        batch = in_batch(own)
        wait = batch.any() if may_wait is None else task in may_wait
        left = own[~batch]
        if not wait or left.empty:
            continue
        assumes = "its answers may wait a day" + (
            ", as those in batch already do" if may_wait is None else ""
        )
        yield _row(
            "batch",
            f"{_on(task)}on {model_id} through the batch endpoint",
            ahead.cost(left) - ahead.cost(left, batch=True),
            left,
            task=task,
            model_id=model_id,
            assumes=assumes,
            scheduled=ahead.changes(model_id),
            needs="no test of quality: the model stays; ask who reads the answers",
        )


def _replacements(now, ahead, margin):
    for model_id, own in now.groupby(now["model_id"].astype(object)):
        to = successor(ahead.prices, model_id, ahead.on)
        if to:
            yield _row(
                "replace",
                f"{model_id} by {to}, its tier's model in the lineup",
                **_another(ahead, own, model_id, to),
                status="to test",
                assumes="as many tokens on the successor, and no context step of its own",
                needs=_test(model_id, margin),
            )


def _event_savings(now, ahead, events):
    days = (ahead.period.end_time.normalize() - ahead.period.start_time).days + 1
    lasting = events[events["lasts"] & (events["excess_usd"] > 0)]
    for event in lasting.itertuples():
        whose = "team" if event.over == "team" else "model_id"
        rows = now[labelled(now[whose]) == event.name] if whose in now else now.iloc[:0]
        moved = (
            ahead.cost(rows) / rows["cost_usd"].sum() if rows["cost_usd"].sum() > 0 else 1.0
        )  # what prices do to it
        usd = event.excess_usd / event.days * days * (moved if moved == moved else 1.0)
        since = f"since {event.start:%Y-%m-%d}"
        if event.over == "team" and event.usual < _HARDLY * event.seen:
            yield _row(
                "stop",
                f"{event.name}, which hardly spent before, {since}",
                usd,
                rows,
                team=event.name,
                assumes="nobody needs it",
                needs="the owner of the key",
            )
        elif event.over == "cache":
            yield _row(
                "cache",
                f"repair the cache of {event.name}, broken {since}",
                usd,
                rows,
                model_id=event.name,
                task=_cached_task(now, event.name),
                assumes="the hit rate comes back to what it was",
                needs="no test of quality: the same prompt in the same order",
            )


def _cached_task(now, model_id):
    """The one task of a model that uses its cache, or "" for several or none."""
    own = now[(now["model_id"] == model_id) & (now["cache_read_tokens"] > 0)]
    tasks = labelled(own["task"]).unique() if "task" in own else []
    return tasks[0] if len(tasks) == 1 else ""


def _errors(now):
    if "status" in now:
        failed = now[~now["status"].fillna("ok").isin(["ok", "truncated"])]
        yield _row(
            "errors",
            "requests that fail",
            failed["cost_usd"].sum(),
            failed,
            assumes="none of them fails",
            needs="the reasons, by status",
        )


RETIRE_DAYS = 180


@dataclass(frozen=True, eq=False)
class Ahead:
    """A quarter's own tokens in the first whole quarter from a day on, at the mean of the rates scheduled for it.

    Attributes
    ----------
    prices : Prices
        The catalogue, whose rates priced the tokens.
    on : Timestamp
        The day on which one stands.
    """

    prices: Prices
    on: pd.Timestamp

    @cached_property
    def period(self):
        quarter = self.on.to_period("Q")
        return quarter if self.on == quarter.start_time else quarter + 1

    @cached_property
    def rates(self):
        """The catalogue with the mean rates of the quarter ahead."""
        return self.prices.over(self.period.start_time, self.period.end_time)

    def cost(self, rows, *, batch=None):
        """US dollars of the rows' tokens on their own models; NaN where a rate is not known."""
        return float(
            repriced(rows, self.prices, self.rates.as_of, batch=batch, ahead=self.rates).sum(
                skipna=False
            )
        )

    def cost_on(self, rows, model_id):
        """US dollars of the rows' tokens on another model."""
        return float(on_model(rows, self.rates, model_id, self.rates.as_of).sum(skipna=False))

    @cached_property
    def _scheduled(self):
        seen = replace(self.prices, as_of=self.on)
        return seen.scheduled(list(self.prices.rows_of), self.period.end_time)

    def changes(self, *models):
        """What is scheduled for some models up to the end of the quarter ahead, with its dates; "" for nothing."""
        return "; ".join(
            f"{model} costs {self._scheduled[model]}"
            for model in models
            if model in self._scheduled
        )


def price_changes(now, prices, start, end):
    """Dated changes of the models in use, repriced on the team's own tokens of the quarter.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    start, end : Timestamp
        The changes after `start` and up to `end`; one after the last day is scheduled.

    Returns
    -------
    DataFrame
        on, model_id, change (in words, USD per million tokens), scheduled, tokens_from (from which day the tokens
        are counted), before_usd, after_usd, effect_usd: what those tokens cost at the rates of the day before the
        change and of the day itself. A change in the quarter is priced on the tokens from that day on, a scheduled
        one on the whole quarter's. NaN where a mode ends that the log does not tell apart.
    """
    columns = [
        "on",
        "model_id",
        "change",
        "scheduled",
        "tokens_from",
        "before_usd",
        "after_usd",
        "effect_usd",
    ]
    changes = changes_of(prices, now["model_id"].unique(), start, end)
    rows, last = [], now["day"].max()
    for (on, model_id), part in changes.groupby(["on", "model_id"], sort=False):
        own = now[now["model_id"] == model_id]
        scheduled = bool(on > last)
        own = own if scheduled else own[own["day"] >= on]
        base = part[(part["kind"] == "rate") & (part["context_above"] == 0)].sort_values(
            "rate", ascending=False
        )
        words = [
            f"{r.rate.replace('uncached_', '').replace('_', ' ')} {r.before:g} to {r.after:g}"
            for r in base.itertuples()
        ]
        words += [f"{rate} ends" for rate in part.loc[part["kind"] == "end", "rate"]]
        costs = [
            repriced(own, prices, day).sum(skipna=False) for day in (on - pd.Timedelta(days=1), on)
        ]
        costs = costs if (part["kind"] == "rate").any() else [np.nan, np.nan]
        rows.append(
            (
                on,
                model_id,
                ", ".join(words),
                scheduled,
                own["day"].min(),
                *costs,
                costs[1] - costs[0],
            )
        )
    return pd.DataFrame(rows, columns=columns)


def retiring(now, prices, by, on):
    """Spend of the quarter on models that retire up to a day, and what their tokens cost on the lineup's model.

    Returns
    -------
    DataFrame
        model_id, retires_on, spend_usd, share, last_used, then successor (same provider and tier in the lineup of
        the day `on`, "" if that is the model itself or none), successor_usd, at the mean rates of the first whole
        quarter from `on`, and scheduled: which of the successor's rates change until its end, "" for none.
    """
    ahead = Ahead(prices, pd.Timestamp(on))
    known = prices.by_model
    own = known.loc[
        known.index.isin(now["model_id"].unique()) & (known["retires_on"] <= pd.Timestamp(by)),
        ["retires_on"],
    ]
    columns = [
        "model_id",
        "retires_on",
        "spend_usd",
        "share",
        "last_used",
        "successor",
        "successor_usd",
        "scheduled",
    ]
    rows = []
    for model_id, when in own["retires_on"].items():
        part = now[now["model_id"] == model_id]
        after = successor(prices, model_id, on)
        cost = ahead.cost_on(part, after) if after else np.nan
        usd = part["cost_usd"].sum()
        rows.append(
            (
                model_id,
                when,
                usd,
                usd / now["cost_usd"].sum(),
                part["day"].max(),
                after,
                cost,
                ahead.changes(after),
            )
        )
    return pd.DataFrame(rows, columns=columns).sort_values("retires_on").reset_index(drop=True)


def successor(prices, model_id, on, *, steps_down=0):
    """The lineup's model of the same provider on a day, of the same tier or one `steps_down` lower.

    "" where the model has no tier, is that model itself, or the lineup's retires within 180 days.
    """
    known = prices.by_model
    ladder, on = list(TIER_LABELS[:3]), pd.Timestamp(on)
    tier = tiers_of(prices, [model_id], [on])[0]
    place = ladder.index(tier) + steps_down if tier in ladder else len(ladder)
    if place >= len(ladder) or len(prices.lineups) == 0:
        return ""
    table = prices.lineup(max(on, prices.lineups["as_of"].min()))
    provider = known.at[model_id, "provider"]
    name = table.at[provider, ladder[place]] if provider in table.index else None
    if (
        pd.isna(name)
        or name == model_id
        or known.at[name, "retires_on"] <= on + pd.Timedelta(days=RETIRE_DAYS)
    ):
        return ""
    return name


def without_price(account, bills, quarter, unread_usd=0.0):
    """What was used or billed in a quarter and has no price.

    Parameters
    ----------
    account : tierlab.quarter.aggregate.Account
    bills : DataFrame
        From `reconciliation`: what is billed by a provider of which the log has no usage has no price either.
    quarter : str
    unread_usd : float
        US dollars of rows that no reader could turn into tokens.

    Returns
    -------
    rows : int
    usd : float
        US dollars billed for it; NaN where the log does not say.
    """
    own = account.unpriced[account.unpriced["quarter"].isin([quarter, ""])]
    rows, usd = int(own["rows"].sum()), own["billed_usd"].sum(min_count=1)
    others = (
        bills.loc[(bills["against"] == "bills") & (bills["priced_usd"] == 0), "billed_usd"].sum()
        + unread_usd
    )
    known = others + (usd if usd == usd else 0.0)
    return rows, float("nan") if rows and usd != usd and not known else float(known)


def reconciliation(now, prices, billed=None):
    """Priced spend against what was billed, by month and provider.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    billed : DataFrame, optional
        `Usage.billed`: day, provider, usd (US dollars).

    Returns
    -------
    DataFrame
        month, provider, against ("billed_usd of the rows" or "bills"), priced_usd, billed_usd, difference_usd
        (priced minus billed), ratio (priced over billed, minus 1), uncovered_usd (priced spend of groups in which
        some row has no billed_usd).
    """
    provider = now["model_id"].map(prices.by_model["provider"])
    month = now["day"].dt.to_period("M").astype(str)
    parts = []
    if "billed_usd" in now and now["billed_rows"].sum() > 0:
        whole = now["billed_rows"] == now["rows"]
        table = pd.DataFrame({"month": month, "provider": provider, "priced_usd": now["cost_usd"].where(whole, 0.0),
                              "billed_usd": now["billed_usd"].where(whole, 0.0), "uncovered_usd": now["cost_usd"].where(~whole, 0.0)})  # fmt: skip
        parts.append(
            table.groupby(["month", "provider"], as_index=False)
            .sum()
            .assign(against="billed_usd of the rows")
        )
    if billed is not None and len(billed):
        day = pd.to_datetime(billed["day"])
        inside = day.between(
            now["day"].min().to_period("Q").start_time, now["day"].max().to_period("Q").end_time
        )
        bills = billed[inside].assign(month=day[inside].dt.to_period("M").astype(str))
        sums = bills.groupby(["month", "provider"])["usd"].sum().rename("billed_usd")
        priced = (
            now["cost_usd"]
            .groupby([month.rename("month"), provider.rename("provider")])
            .sum()
            .rename("priced_usd")
        )
        table = (
            pd.concat([priced, sums], axis=1)
            .fillna(0.0)
            .rename_axis(["month", "provider"])
            .reset_index()
        )
        parts.append(table.assign(against="bills", uncovered_usd=0.0))
    columns = [
        "month",
        "provider",
        "against",
        "priced_usd",
        "billed_usd",
        "difference_usd",
        "ratio",
        "uncovered_usd",
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    table["difference_usd"] = table["priced_usd"] - table["billed_usd"]
    table["ratio"] = table["priced_usd"] / table["billed_usd"].where(table["billed_usd"] != 0) - 1
    return table[columns]
