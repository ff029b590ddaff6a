"""Whether earlier decisions arrived: how much traffic moved since, and what that saved, by the log."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tierlab.core.vocabulary import BUCKETS
from tierlab.decide.record import Record
from tierlab.prices.catalog import Prices
from tierlab.prices.daily import at_base, bought, in_batch, labelled, on_model, rates_at, repriced
from tierlab.prices.names import canonical
from tierlab.quarter.variance import causes, variance

ARRIVED, NOT_ARRIVED, CANNOT_TELL = "arrived", "not arrived", "cannot be told"
CONFIDENCE = 0.95
RECENT = 28  # days at the end of the log in which the traffic must have moved
HALF = 0.5  # share of the traffic concerned that must have moved for a decision to have arrived
SOMETHING = 0.1  # share of the traffic concerned; a smaller one is noise
LEAST_DAYS = 14  # with traffic, before the decision and since
BASELINE = 92  # days before the decision that count
COLUMNS = ["source", "kind", "what", "outcome", "moved_share", "promised_usd", "saved_usd", "low"]
COLUMNS += ["high", "days", "why", "also_moved"]
_FITTED = 4  # parameters of the fit: two levels, a trend and the day between them
_ACTS_THROUGH = {  # the effects of the variance by which a decision itself moves spend
    "move": ("tier_mix", "model_mix"),
    "replace": ("tier_mix", "model_mix"),
    "batch": ("cache_batch",),
    "cache": ("cache_batch",),
    "stop": ("volume", "task_mix"),
    "errors": (),
}
_INPUT = [f"{bucket}_tokens" for bucket in BUCKETS[:4]]


@dataclass(frozen=True)
class Decided:
    """A decision, with names as the log has them.

    Attributes
    ----------
    source : str
        The report or record in which it was written down.
    kind : {"move", "replace", "batch", "cache", "stop", "session", "errors"}
    what : str
        The decision in words.
    since : Timestamp
        The first day on which it could show.
    task, model_id, to, team : str
        What it concerns, as in `tierlab.quarter.savings`; "" for all. A move with an empty `model_id` is from the model
        that answered the task before.
    tasks : tuple of str
        The log's names of a record's task.
    promised_usd : float
        US dollars per quarter; NaN where nothing was promised.
    began : Timestamp, optional
        When the cache broke or the team began to spend.
    """

    source: str
    kind: str
    what: str
    since: pd.Timestamp
    task: str = ""
    model_id: str = ""
    to: str = ""
    team: str = ""
    tasks: tuple = ()
    promised_usd: float = np.nan
    began: pd.Timestamp | None = None


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the log shows about a decision.

    `saved` is US dollars by day; `share` is the share of the traffic that moved in the last weeks; `weight` is the
    traffic by day, which shows the weekdays; `base_variance` is what the `base_days` before the decision leave uncertain
    in the sum of `saved`; `elsewhere` says in words which traffic went to models that nobody decided on.
    """

    saved: pd.Series
    share: float
    weight: pd.Series
    base_variance: float
    base_days: int
    concerned: "_Sides"
    elsewhere: str = ""


class _Untold(ValueError):
    """The reason why nothing can be told about a decision."""


def decided_in(summary: dict) -> list[Decided]:
    """Return the decisions of the summary.json of an earlier quarter."""
    since = pd.Period(summary["quarter"], freq="Q").end_time.normalize() + pd.Timedelta(days=1)
    events = {
        (event["over"], event["name"]): pd.Timestamp(event["start"]).tz_localize(None)
        for event in reversed(summary.get("events") or [])
        if event["lasts"]
    }
    found = []
    for row in summary.get("decisions") or []:
        names = {name: row.get(name) or "" for name in ("task", "model_id", "to", "team")}
        key = ("team", names["team"]) if row["kind"] == "stop" else ("cache", names["model_id"])
        found.append(
            Decided(
                f"report of {summary['quarter']}",
                row["kind"],
                row["what"],
                since,
                **names,
                promised_usd=float(row["usd"]),
                began=events.get(key),
            )
        )
    return found


def decided_by(record: Record, tasks: dict | None = None) -> Decided:
    """Return what a decision record decided; `tasks` maps the log's names of tasks to those of data/tasks.csv."""
    model = canonical(record.model_id) or record.model_id
    names = [log for log, ours in (tasks or {}).items() if ours == record.task]
    return Decided(
        source=record.title,
        kind="move",
        what=f"{record.task or 'everything'} on {model}",
        since=pd.Timestamp(record.decided_on),
        task=record.task,
        to=model,
        tasks=(record.task, *names),
    )


def arrivals(daily: pd.DataFrame, prices: Prices, decided: Sequence[Decided]) -> pd.DataFrame:
    """Compare decisions with the log of the days since.

    Parameters
    ----------
    daily : DataFrame
        `Cube.daily`, with the days before the decisions and those since.
    prices : Prices
        The catalogue that priced it.
    decided : sequence of Decided
        From `decided_in` and `decided_by`.

    Returns
    -------
    DataFrame
        source, kind, what, outcome ("arrived", "not arrived", "cannot be told"), moved_share (of the traffic concerned,
        in the last 28 days), promised_usd (per quarter), saved_usd (US dollars since the decision), low and high (95 %
        interval), days (with traffic since), why, also_moved (what else moved the spend concerned, in words).

    Notes
    -----
    A saving is what the same rows would have cost the old way, at the rates of their day, less what they cost. The old
    way is the old model with the same tokens, the standard rate instead of the batch rate, the input as it was split
    while the cache was broken, or the team's daily level while it spent. Traffic that already went the new way before is
    not counted. What a task's other new models save or cost counts, and `why` names them. The interval is that of a sum
    of independent days around two levels with a trend, weekdays taken out (Student's t), and contains what the days
    before leave uncertain. It gives the old model the new one's tokens: a model that writes more looks worse in
    `also_moved`, not in the saving.

    A decision has arrived if at least half of its traffic moved in the last 28 days and the interval is above zero. It
    cannot be told with fewer than 14 days of traffic, or if the interval contains zero while a tenth or more has moved.
    """
    return pd.DataFrame([_judged(daily, prices, one) for one in decided], columns=COLUMNS)


@dataclass(frozen=True, eq=False)
class _Sides:
    """The log before a decision and since, up to its last day."""

    before: pd.DataFrame
    since: pd.DataFrame
    end: pd.Timestamp

    def only(self, which):
        """Return both sides with the rows for which `which` (a function of rows) holds; refuse an empty side."""
        own = [rows[which(rows)] for rows in (self.before, self.since)]
        for rows, when in zip(own, ("before the decision", "since"), strict=True):
            if rows.empty:
                raise _Untold(f"none of the traffic concerned is in the log {when}")
        return _Sides(*own, self.end)

    def recent(self):
        """Return the rows of the last weeks; refuse an empty result."""
        rows = self.since[self.since["day"] > self.end - pd.Timedelta(days=RECENT)]
        if rows.empty:
            raise _Untold(f"none of the traffic concerned is in the last {RECENT} days of the log")
        return rows

    def by_day(self, values):
        """Return what `values` (a function of rows) gives by day, before the decision and since."""
        ends = self.before["day"].max(), self.end
        both = (self.before, self.since)
        return [sums_by_day(values(rows), rows, end) for rows, end in zip(both, ends, strict=True)]

    def needs(self, column, what):
        """Refuse a log without a column, which says what `what` names."""
        if column not in self.since or column not in self.before:
            raise _Untold(f"the log does not say {what}")


def _judged(daily, prices, one):
    row = {"source": one.source, "kind": one.kind, "what": one.what}
    row |= {"promised_usd": one.promised_usd, "also_moved": ""}
    after, before = daily[daily["day"] >= one.since], daily[daily["day"] < one.since]
    before = before[before["day"] >= one.since - pd.Timedelta(days=BASELINE)]
    sides = _Sides(before, after, daily["day"].max())
    try:
        if one.kind not in _LOOKS:
            raise _Untold("sums by day do not show which model a session was kept on")
        seen = _LOOKS[one.kind](sides.only(lambda rows: rows["day"].notna()), prices, one)
        row["days"] = days = int((seen.weight > 0).sum())
        if min(days, seen.base_days) < LEAST_DAYS:
            raise _Untold(
                f"{days} days of traffic since and {seen.base_days} before; {LEAST_DAYS} are needed"
            )
    except _Untold as why:
        return row | {"outcome": CANNOT_TELL, "why": str(why)}
    saved, low, high = _interval(seen)
    outcome, why = outcome_of(seen.share, low, high)
    return row | {
        "moved_share": seen.share,
        "saved_usd": saved,
        "low": low,
        "high": high,
        "outcome": outcome,
        "why": why + seen.elsewhere,
        "also_moved": _also_moved(seen.concerned, one, prices),
    }


def outcome_of(share, low, high):
    """Judge a decision by rules, the strictest first; return the outcome and why."""
    if share >= HALF and low > 0:
        return ARRIVED, f"{share:.0%} of the traffic moved, and it saves"
    if share < SOMETHING:
        return NOT_ARRIVED, f"hardly any of the traffic moved in the last {RECENT} days"
    if low <= 0 <= high:
        return CANNOT_TELL, f"{share:.0%} of the traffic moved, but the saving may be zero"
    if high < 0:
        return NOT_ARRIVED, f"{share:.0%} of the traffic moved, and it costs more"
    return NOT_ARRIVED, f"only {share:.0%} of the traffic moved in the last {RECENT} days"


def _interval(seen):
    """Return the sum of the daily savings and its 95% interval.

    A move in the middle of the quarter is a step and not noise, so the days before and after it have their own levels.
    """
    # The quantile of the t distribution; scipy.stats takes a second to import.
    from scipy.special import stdtrit

    saved = seen.saved.to_numpy(float)
    n, total = len(saved), float(saved.sum())
    weekday = seen.saved.index.day_of_week
    usual = seen.weight.groupby(weekday).mean() / seen.weight.mean()
    factor = usual.reindex(weekday).to_numpy()
    # The classical estimate of the day of a step: where the sum of the deviations from the mean is largest.
    drift = np.cumsum(saved - total / factor.sum() * factor)
    late = np.arange(n) > np.argmax(np.abs(drift))
    design = factor[:, None] * np.column_stack([~late, late, np.arange(n) * late])
    fit = np.linalg.lstsq(design, saved, rcond=None)[0]
    off = saved - design @ fit
    free = n - _FITTED
    spread = np.sqrt((off @ off) * n / free + seen.base_variance)
    free = min(free, seen.base_days - 1) if seen.base_variance else free
    reach = stdtrit(free, (1 + CONFIDENCE) / 2) * spread
    return total, float(total - reach), float(total + reach)


def ratio_of(part, whole):
    """Return the ratio of two sums over days, and its variance."""
    total, n = whole.sum(), len(whole)
    ratio = part.sum() / total
    off = part - ratio * whole
    return float(ratio), float((off**2).sum() / total**2 * n / max(n - 1, 1))


def sums_by_day(values, rows, end):
    """Sum the values of rows by day, from the first row to `end`; a day without a row has 0."""
    days = pd.date_range(rows["day"].min(), end, unit="us")
    return values.groupby(rows["day"]).sum().reindex(days, fill_value=0.0)


def _shifted(sides, old_way, is_new, others=()):
    """Return what is seen of traffic that goes a new way, beyond the share that went that way before.

    Parameters
    ----------
    sides : _Sides
        The rows concerned.
    old_way : function of rows
        What they would have cost the old way (US dollars).
    is_new : function of rows
        Which of them go the new way.
    others : collection of str
        Models that nobody decided on and that answer only since. What they save or cost counts, but they are not
        counted as moved.
    """

    def parts(rows):
        usd, new = old_way(rows), is_new(rows)
        if usd.isna().any():
            raise _Untold("the old way has no price on some of the days")
        other = rows["model_id"].isin(others) & ~new
        return pd.DataFrame(
            {
                "whole": usd,
                "new": usd.where(new, 0.0),
                "paid": rows["cost_usd"].where(new, 0.0),
                "other": usd.where(other, 0.0),
                "other_saved": (usd - rows["cost_usd"]).where(other, 0.0),
            }
        )

    old, now = sides.by_day(parts)
    had, variance_of_had = ratio_of(old["new"], old["whole"])
    if had > 1 - SOMETHING:
        raise _Untold(f"{had:.0%} of the traffic went this way before the decision")
    sides.recent()
    recent = now.tail(RECENT)
    share, _ = ratio_of(recent["new"], recent["whole"])
    went, _ = ratio_of(recent["other"], recent["whole"])
    moved = now["new"].sum()
    gain = (
        1 - now["paid"].sum() / moved if moved > 0 else 0.0
    )  # per dollar that the old way would cost
    return _Seen(
        saved=gain * (now["new"] - had * now["whole"]) + now["other_saved"],
        share=(share - had) / (1 - had),
        weight=now["whole"],
        base_variance=variance_of_had * (gain * now["whole"].sum()) ** 2,
        base_days=int((old["whole"] > 0).sum()),
        concerned=sides,
        elsewhere=f"; {went:.0%} went to {', '.join(others)}" if len(others) else "",
    )


def _of_tasks(sides, tasks):
    """Return the sides with the rows of some tasks, or with all rows if no task has a name."""
    if not any(tasks):
        return sides
    sides.needs("task", "for which task a request was made")
    return sides.only(lambda rows: labelled(rows["task"]).isin(tasks))


def _moved(sides, prices, one):
    sides = _of_tasks(sides, one.tasks or (one.task,))
    old = one.model_id or answered_before(sides.before, one.to)
    if "task" in sides.before and not one.task:  # what else the new model answers is not concerned
        own = sides.before.loc[sides.before["model_id"] == old, "task"]
        sides = _of_tasks(sides, labelled(own).unique())

    def old_way(rows):
        there = on_model(rows, prices, old, rows["day"].to_numpy())
        return rows["cost_usd"].where(rows["model_id"] == old, there)

    sides.only(lambda rows: rows["model_id"].isin([old, one.to]))  # refuses a side without
    others = sorted({*sides.since["model_id"]} - {*sides.before["model_id"], one.to})
    own = sides.only(lambda rows: rows["model_id"].isin([old, one.to, *others]))
    return _shifted(own, old_way, lambda rows: rows["model_id"] == one.to, others)


def answered_before(before, to):
    """Return the model, other than the chosen one, on which a task spent most before the decision."""
    others = before[before["model_id"] != to].groupby("model_id")["cost_usd"].sum()
    if others.empty:
        raise _Untold(f"nothing was to move: {to} answered already")
    return others.idxmax()


def _batched(sides, prices, one):
    sides.needs("batch", "what went through a batch endpoint")
    sides = _of_tasks(sides, (one.task,)).only(lambda rows: rows["model_id"] == one.model_id)

    def old_way(rows):
        return repriced(rows, prices, rows["day"].to_numpy(), batch=False)

    return _shifted(sides, old_way, lambda rows: pd.Series(in_batch(rows), rows.index))


def _fewer_errors(sides, prices, one):
    """Look at requests that fail and are paid: their share of the spend before, and since."""
    sides.needs("status", "which requests failed")

    def parts(rows):
        answered = rows["status"].fillna("ok").isin(["ok", "truncated"])
        failed = rows["cost_usd"].mask(answered, 0.0)
        return pd.DataFrame({"whole": rows["cost_usd"], "failed": failed})

    old, now = sides.by_day(parts)
    had, variance_of_had = ratio_of(old["failed"], old["whole"])
    if not had > 0:
        raise _Untold("no request that failed was paid before the decision")
    share, _ = ratio_of(now["failed"].tail(RECENT), now["whole"].tail(RECENT))
    return _Seen(
        saved=had * now["whole"] - now["failed"],
        share=1 - share / had,
        weight=now["whole"],
        base_variance=variance_of_had * now["whole"].sum() ** 2,
        base_days=len(old),
        concerned=sides,
    )


def _stopped(sides, prices, one):
    """Look at a team that was to stop: its spend since, against its daily level while it spent."""
    sides.needs("team", "which team made a request")
    began, last = _began(one), sides.before["day"].max()
    before, since = (
        rows[labelled(rows["team"]) == one.team] for rows in (sides.before, sides.since)
    )
    during = before[before["day"] >= began]
    if during.empty:
        raise _Untold(f"the log has no usage of {one.team} before the decision")
    then = sums_by_day(during["cost_usd"], during, last)
    days = pd.date_range(one.since, sides.end, unit="us")
    now = since["cost_usd"].groupby(since["day"]).sum().reindex(days, fill_value=0.0)
    return _Seen(
        saved=then.mean() - now,
        share=float(1 - now.tail(RECENT).mean() / then.mean()),
        weight=pd.Series(1.0, days),
        base_variance=float(then.var()) / len(then) * len(now) ** 2,
        base_days=len(then),
        concerned=_Sides(during, since, sides.end),
    )


def _began(one):
    if one.began is None:
        raise _Untold("the report that decided it does not say when it began")
    return one.began


def _repaired(sides, prices, one):
    """Look at a cache that was to be repaired: the input since, against its split while the cache was broken."""
    began = _began(one)
    sides = _of_tasks(sides, (one.task,)).only(lambda rows: rows["model_id"] == one.model_id)
    before, since = sides.before, sides.since
    broken, whole = before[before["day"] >= began], before[before["day"] < began]
    if broken.empty or whole.empty:
        raise _Untold("the log needs days before the cache broke, and while it was broken")
    usual, low, hit = (
        rows["cache_read_tokens"].sum() / _input(rows).sum()
        for rows in (whole, broken, sides.recent())
    )
    split = broken[_INPUT].sum() / _input(broken).sum()
    as_broken = since.assign(**{name: _input(since) * split[name] for name in _INPUT})
    rates = rates_at(prices, bought(since), since["day"], in_batch(since))
    saved = (at_base(as_broken, rates) - at_base(since, rates)).sum(axis=1)
    # What a token of input cost while it was broken, at the rates of the last day.
    last = np.repeat(rates[[since["day"].argmax()]], len(broken), axis=0)
    usd = pd.Series(at_base(broken, last)[:, :3].sum(axis=1), broken.index)
    table = pd.DataFrame({"usd": usd, "tokens": _input(broken)})
    then = sums_by_day(table, broken, before["day"].max())
    _, variance_of_price = ratio_of(then["usd"], then["tokens"])
    return _Seen(
        saved=sums_by_day(pd.Series(saved, since.index), since, sides.end),
        share=float((hit - low) / (usual - low)),
        weight=sums_by_day(_input(since).astype(float), since, sides.end),
        base_variance=variance_of_price * float(_input(since).sum()) ** 2,
        base_days=int((then["tokens"] > 0).sum()),
        concerned=_Sides(broken, since, sides.end),
    )


def _input(rows):
    return rows[_INPUT].sum(axis=1)


_LOOKS = {
    "move": _moved,
    "replace": _moved,
    "batch": _batched,
    "cache": _repaired,
    "stop": _stopped,
    "errors": _fewer_errors,
}


def _also_moved(sides, one, prices):
    """Name what else moved the spend concerned, between the same number of days before and since."""
    before, since = sides.before, sides.since
    if since.empty:
        return ""
    days = min(before["day"].nunique(), since["day"].nunique())
    span = pd.Timedelta(days=days)
    before = before[before["day"] > before["day"].max() - span]
    since = since[since["day"] > since["day"].max() - span]
    if not (before["cost_usd"].sum() > 0 and since["cost_usd"].sum() > 0):
        return ""
    table = variance(since, before, prices)
    table = table[~table["effect"].isin(_ACTS_THROUGH[one.kind])]
    said = causes(table, least=0.02 * before["cost_usd"].sum())
    return f"{', '.join(said)} ({days} days against {days})" if said else ""
