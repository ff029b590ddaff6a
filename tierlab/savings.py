"""What could be saved next quarter, ranked: another tier, batch, the cache, a model's successor, spend nobody meant."""

import pandas as pd

from tierlab.comparison import compare
from tierlab.decision import load_tasks
from tierlab.names import TIERS
from tierlab.planning import required_examples
from tierlab.quarter_prices import successor
from tierlab.repriced import in_batch, labelled, on_model, repriced, tiers_of

COLUMNS = ["kind", "what", "usd", "share", "status", "assumes", "needs", "task", "model_id", "to", "team"]
DISCORDANT = 0.10  # share of examples on which two near-equal models disagree; plans the number of examples
HELD = ("worse", "against the task table")
_SMALL = 0.005  # of the quarter's spend: less is not worth a decision
_HARDLY = 0.1  # a team that spent less than this share of what it spends now was not meant to


def savings(now, prices, on, *, events=None, may_wait=None, outcomes=None, margin=None):
    """Proposals with US dollars per quarter, on the quarter's own tokens at the rates of one day.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    prices : Prices
    on : Timestamp
        The day whose rates and lineup apply.
    events : DataFrame, optional
        From `tierlab.anomalies`: caches that broke, and teams that suddenly spend.
    may_wait : sequence of str, optional
        Tasks whose answers may take a day; by default those of which some requests are in batch already.
    outcomes : DataFrame, optional
        Scores of both models settle the status of a move, by `tierlab.compare` with `margin`.
    margin : float, optional
        How much worse a cheaper model may be (0-1).

    Returns
    -------
    DataFrame
        kind ("stop", "cache", "move", "batch", "replace", "errors"), what, usd (US dollars per quarter), share (of
        the quarter's spend), status ("to test", "not worse", "worse", "cannot tell", "against the task table", ""),
        assumes, needs, task, model_id, to, team; the largest first. They are not additive: two can concern the same
        tokens (`decisions` picks some that do not). Savings under half a per cent of the spend are left out; so is a
        model without a rate for what is proposed.

    Notes
    -----
    A move goes one tier down within the provider's lineup, tokens taken over as they are. The task table
    (data/tasks.csv, after the article) holds back a move below the lowest tier of a task it knows.
    """
    rows = [
        *_moves(now, prices, on, outcomes, margin),
        *_batches(now, prices, on, may_wait),
        *_replacements(now, prices, on, margin),
        *(_event_savings(now, events) if events is not None else ()),
        *_errors(now),
    ]
    spend = now["cost_usd"].sum()
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c != "share"])
    table["share"] = table["usd"] / spend
    table = table[table["share"] >= _SMALL]
    return table.sort_values("usd", ascending=False, kind="stable")[COLUMNS].reset_index(drop=True)


def decisions(table, now, count=3):
    """The largest savings that are not held back and do not concern the same tokens twice."""
    taken, picked = set(), []
    cells = _cells(now)
    for place, row in table.iterrows():
        mine = {c for c in cells if all(row[key] in ("", c[i]) for i, key in enumerate(("task", "model_id", "team")))}
        if row["status"] not in HELD and not mine & taken and len(picked) < count:
            taken |= mine
            picked.append(place)
    return table.loc[picked].reset_index(drop=True)


def _cells(now):
    columns = [labelled(now[c]) if c in now else pd.Series("", now.index) for c in ("task", "model_id", "team")]
    return set(zip(*columns, strict=True))


def _groups(now):
    """Rows by task (or all together) and model."""
    task = labelled(now["task"]) if "task" in now else pd.Series("", now.index)
    for (name, model_id), own in now.groupby([task, now["model_id"].astype(object)]):
        yield name, model_id, own


def _row(kind, what, usd, **more):
    return {"kind": kind, "what": what, "usd": float(usd), "task": "", "to": "", "team": "", "status": ""} | more


def _on(task):
    return f"{task} " if task else "everything "


def _moves(now, prices, on, outcomes, margin):
    low = load_tasks()["tier_low"]
    for task, model_id, own in _groups(now):
        to = successor(prices, model_id, on, steps_down=1)
        if not to:
            continue
        usd = repriced(own, prices, on).sum(skipna=False) - on_model(own, prices, to, on).sum(skipna=False)
        tier = tiers_of(prices, [to], [on])[0]
        status = "against the task table" if task in low and TIERS.index(tier) < TIERS.index(low[task]) else "to test"
        status = _finding(outcomes, task, model_id, to, margin) or status
        assumes = "as many tokens on the cheaper model, and no context step of its own"
        what = f"{_on(task)}from {model_id} to {to} ({tier})"
        yield _row(
            "move",
            what,
            usd,
            task=task,
            model_id=model_id,
            to=to,
            status=status,
            assumes=assumes,
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
        f"non-inferiority: tl.compare(samples, reference={model_id!r}, margin={wanted:g}), "
        f"about {examples:,} examples if one in ten answers differs"
    )


def _batches(now, prices, on, may_wait):
    if "batch" not in now:
        return
    for task, model_id, own in _groups(now):
        batch = in_batch(own)
        wait = batch.any() if may_wait is None else task in may_wait
        left = own[~batch]
        if not wait or left.empty:
            continue
        usd = repriced(left, prices, on).sum(skipna=False) - repriced(left, prices, on, batch=True).sum(skipna=False)
        assumes = "its answers may wait a day" + (", as those in batch already do" if may_wait is None else "")
        yield _row("batch", f"{_on(task)}on {model_id} through the batch endpoint", usd, task=task, model_id=model_id,
                   assumes=assumes, needs="none of quality: the model stays; ask who reads the answers")  # fmt: skip


def _replacements(now, prices, on, margin):
    for model_id, own in now.groupby(now["model_id"].astype(object)):
        to = successor(prices, model_id, on)
        if to:
            usd = repriced(own, prices, on).sum(skipna=False) - on_model(own, prices, to, on).sum(skipna=False)
            assumes = "as many tokens on the successor, and no context step of its own"
            yield _row("replace", f"{model_id} by {to}, its tier's model in the lineup", usd, model_id=model_id, to=to,
                       status="to test", assumes=assumes, needs=_test(model_id, margin))  # fmt: skip


def _event_savings(now, events):
    days = now["day"].iloc[0].to_period("Q")
    days = (days.end_time.normalize() - days.start_time).days + 1
    lasting = events[events["lasts"] & (events["excess_usd"] > 0)]
    for event in lasting.itertuples():
        usd = event.excess_usd / event.days * days
        since = f"since {event.start:%Y-%m-%d}"
        if event.over == "team" and event.usual < _HARDLY * event.seen:
            yield _row("stop", f"{event.name}, which hardly spent before, {since}", usd, model_id="", team=event.name,
                       assumes="nobody needs it", needs="the owner of the key")  # fmt: skip
        elif event.over == "cache":
            yield _row("cache", f"repair the cache of {event.name}, broken {since}", usd, model_id=event.name,
                       task=_cached_task(now, event.name), assumes="the hit rate comes back to what it was",
                       needs="none of quality: the same prompt in the same order")  # fmt: skip


def _cached_task(now, model_id):
    """The one task of a model that uses its cache, or "" for several or none."""
    own = now[(now["model_id"] == model_id) & (now["cache_read_tokens"] > 0)]
    tasks = labelled(own["task"]).unique() if "task" in own else []
    return tasks[0] if len(tasks) == 1 else ""


def _errors(now):
    if "status" in now:
        failed = ~now["status"].fillna("ok").isin(["ok", "truncated"])
        yield _row("errors", "requests that failed", now.loc[failed, "cost_usd"].sum(), model_id="",
                   assumes="none of them fails", needs="the reasons, by status")  # fmt: skip
