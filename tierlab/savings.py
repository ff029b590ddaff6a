"""What could be saved next quarter, ranked: another tier, batch, the cache, a model's successor, spend nobody meant."""

import pandas as pd

from tierlab.comparison import compare
from tierlab.decision import load_tasks
from tierlab.names import TIERS, unknown
from tierlab.planning import required_examples
from tierlab.quarter_prices import Ahead, successor
from tierlab.repriced import in_batch, labelled, tiers_of

COLUMNS = ["kind", "what", "usd", "spend_usd", "spend_share", "status", "assumes", "needs"]
COLUMNS += ["scheduled", "task", "model_id", "to", "team"]
DISCORDANT = 0.10  # share of examples on which two near-equal models disagree; plans the number of examples
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
        From `tierlab.anomalies`: caches that broke, and teams that suddenly spend.
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
    table.loc[dated, "assumes"] += f"; the mean rates of {ahead.period}: " + table.loc[dated, "scheduled"]
    table = table[table["usd"] >= SMALL * spend]
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
    row = {"kind": kind, "what": what, "usd": float(usd), "spend_usd": float(rows["cost_usd"].sum())}
    return row | dict.fromkeys(("scheduled", "task", "model_id", "to", "team", "status"), "") | more


def _on(task):
    return f"{task} " if task else "everything "


def _another(ahead, own, model_id, to):
    """What holds of every change of model: its dollars, and the prices that are scheduled."""
    usd = ahead.cost(own) - ahead.cost_on(own, to)
    return {"usd": usd, "rows": own, "model_id": model_id, "to": to, "scheduled": ahead.changes(model_id, to)}


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
        assumes = "its answers may wait a day" + (", as those in batch already do" if may_wait is None else "")
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
        moved = ahead.cost(rows) / rows["cost_usd"].sum() if rows["cost_usd"].sum() > 0 else 1.0  # what prices do to it
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
