"""What could be saved next quarter, ranked, and the team's own tokens against other prices: changes, retirements, bills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, unknown
from tierlab.decide.record import Record
from tierlab.evaluate.compare import compare
from tierlab.evaluate.planning import required_examples
from tierlab.prices.pricing import in_batch, labelled, price, tiers_of
from tierlab.quarter.aggregate import SESSION_ROWS
from tierlab.quarter.ahead import RETIRE_DAYS, successor
from tierlab.quarter.engine import TOKENS
from tierlab.quarter.outlook import day_said
from tierlab.routing.caches import Caches
from tierlab.routing.policies import Always, Rules
from tierlab.routing.route import route
from tierlab.routing.sessions import conversation_outcomes

COLUMNS = ["kind", "what", "usd", "spend_usd", "spend_share", "status", "assumes", "needs"]
COLUMNS += ["scheduled", "task", "model_id", "to", "team", "teams"]
# Share of examples on which two near-equal models disagree; plans the number of examples.
DISCORDANT = 0.10
UNKNOWN_STAKES = "stakes not said"
HELD = ("worse", "against the task table", UNKNOWN_STAKES)
STATUSES = {  # in words, where the status alone does not say it
    "against the task table": "the task needs a higher tier",
    UNKNOWN_STAKES: "nobody has said what a wrong answer costs",
}
SURE = ("", "not worse")  # of the statuses: what needs no test any more
SMALL = 0.005  # a saving of less than this part of the quarter's spend is not worth a decision
_HARDLY = 0.1  # a team that spent less than this share of what it spends now was not meant to


@dataclass(frozen=True)
class Terms:
    """What a team says of its own work, which decides how far advice may go.

    Attributes
    ----------
    margin : float, optional
        How much worse a cheaper model may be (0-1); with outcomes it settles the moves.
    may_wait : sequence of str, optional
        Tasks whose answers may take a day; by default those of which some requests are in batch already.
    tasks : mapping of str to str
        The log's names of tasks -> those of data/tasks.csv, where they differ.
    records : sequence of Record
        Filed decisions, to be held against the log (`tierlab.quarter.arrival`).
    retire_days : int
        How far ahead to look for models that retire, days after the day on which one stands.
    """

    margin: float | None = None
    may_wait: Sequence[str] | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)
    retire_days: int = RETIRE_DAYS
    records: Sequence[Record] = ()

    def __post_init__(self):
        known = load_tasks().index
        for ours in self.tasks.values():
            if ours not in known:
                raise ValueError(f"tasks = {self.tasks!r}: {unknown('task', ours, known)}")


def savings(ahead, *, events=None, outcomes=None, terms=None, sessions=None):
    """Proposals with US dollars per quarter, on the quarter's own tokens at the rates of the quarter ahead.

    Parameters
    ----------
    ahead : Ahead
        The quarter's rows and contract, and the day on which one stands, whose lineup applies. Rates are the mean of
        those scheduled for the first whole quarter from that day on.
    events : DataFrame, optional
        From `tierlab.quarter.outlook`: caches that broke, and teams that suddenly spend.
    outcomes : DataFrame, optional
        Scores of both models settle the status of a move, by `tierlab.compare` with the margin of `terms`.
    terms : Terms, optional
    sessions : dict, optional
        From `per_session`.

    Returns
    -------
    DataFrame
        kind ("stop", "cache", "move", "batch", "replace", "session", "errors"), what, usd (US dollars per quarter ahead), spend_usd
        (what it concerns cost in this quarter) and spend_share (its share of this quarter's spend), status ("to test",
        "not worse", "worse", "cannot tell", "against the task table", "stakes not said", ""), assumes, needs, scheduled
        (which rates change until the end of the quarter ahead, and when; "" for none), task, model_id, to, team, teams
        (whose spend it concerns, the largest first); the largest saving first. They are not additive: two can concern
        the same tokens (`decisions` picks some that do not). Savings under half a per cent of the spend are left out; so
        is a model without a rate for what is proposed. Beside them rows, those it concerns, and change (`Ahead.change`).
        Under a contract usd is what is saved at effective rates, and list_usd, contracted_usd and paid_usd (what it
        concerns cost under the contract) stand beside it; a commitment that stays unused for it eats a part, and
        `assumes` says so.

    Raises
    ------
    ValueError
        If `terms` names a task that the log or the task table does not have.

    Notes
    -----
    A move goes one tier down within the provider's lineup, tokens taken over as they are. The task table
    (data/tasks.csv, after the article) holds back a move below the lowest tier of a task. Of a task that it does not
    know nobody has said what a wrong answer costs: a move is held back until a test or `Terms.tasks` says more.
    """
    now, contract, terms = ahead.now, ahead.contract, terms or Terms()
    found = [
        *_moves(now, ahead, outcomes, terms),
        *_batches(now, ahead, terms.may_wait),
        *_replacements(now, ahead, terms.margin),
        *_event_savings(now, ahead, events),
        *_errors(now),
        *_sessions(now, sessions),
    ]
    spend, blank = now["cost_usd"].sum(), dict.fromkeys(COLUMNS[5:], "")
    found = [blank | one for one in found if one["usd"] >= SMALL * spend]
    table = pd.DataFrame(found, columns=["rows", "change", *COLUMNS])
    table["spend_usd"] = [rows["cost_usd"].sum() for rows in table["rows"]]
    table["spend_share"] = table["spend_usd"] / spend
    table["teams"] = [_teams(row.rows, row.task) for row in table.itertuples()]
    dated = table["scheduled"] != ""
    means = f"; the mean rates of {ahead.period}: " + table.loc[dated, "scheduled"]
    table.loc[dated, "assumes"] += means
    if contract is not None:
        table["change"] = pd.Series([ahead.change(one) for one in found], dtype=object)
        paid = [ahead.deal.saving(change) for change in table["change"]]
        table = table.assign(
            list_usd=table["usd"],
            contracted_usd=[contracted for contracted, _ in paid],
            usd=[effective for _, effective in paid],
            paid_usd=[rows["effective_usd"].sum() for rows in table["rows"]],
        )
        table["assumes"] += _eaten(table["contracted_usd"] - table["usd"])
        table = table[table["usd"] >= SMALL * spend]
    return table.sort_values("usd", ascending=False, kind="stable", ignore_index=True)


def _eaten(lost):
    """What a commitment or a capacity takes of each saving, in words; "" where that is nothing."""
    words = [f"; {usd(x)} of it is lost to what stays unused of the contract" for x in lost]
    return pd.Series(words, lost.index, dtype=object).where(lost >= 0.005, "")


def _teams(rows, task):
    """The teams of a task's rows, or of all without one, the largest spend first; "" where the log names none."""
    if "team" not in rows:
        return ""
    if task and "task" in rows:
        rows = rows[labelled(rows["task"]) == task]
    usd = rows.groupby(labelled(rows["team"]))["cost_usd"].sum()
    return ", ".join(usd[usd > 0].sort_values(ascending=False).index)


def ranked(table, now):
    """Proposals with two columns more: place (1 to 3 for a decision, else 0), and overlaps.

    Decisions are the largest savings that are not held back and do not concern the same tokens twice; overlaps is the
    place of the decision that already concerns tokens of a proposal, 0 for none.
    """
    keys = ["task", "model_id", "team"]
    cells = now.reindex(columns=keys).apply(labelled).drop_duplicates()
    taken, picked, table = pd.Series(0, cells.index), 0, table.assign(place=0, overlaps=0)
    for at, row in table[~table["status"].isin(HELD)].iterrows():
        mine = ((cells == row[keys]) | (row[keys] == "")).all(axis=1)
        others = taken[mine & (taken > 0)]
        if len(others):
            table.loc[at, "overlaps"] = others.min()
        elif picked < 3:
            picked += 1
            taken[mine] = table.loc[at, "place"] = picked
    return table


def saved_usd(decided, ahead):
    """What decisions save together (US dollars): under a contract what is unused depends on all of them at once."""
    if ahead.contract is None or decided.empty:
        return float(decided["usd"].sum())
    return ahead.deal.saving(*decided["change"])[1]


def _lowest_tiers(now, tasks):
    """The log's names -> the lowest tier of the task that each stands for in the task table."""
    low = load_tasks()["tier_low"].to_dict()
    own = set(labelled(now["task"])) if "task" in now else set()
    for name in tasks:
        if name not in own:
            raise ValueError(unknown("task of the log", name, sorted(own)))
    return low | {name: low[ours] for name, ours in tasks.items()}


def _groups(now):
    """(task or "", model, rows) of each task and model; all tasks together where the log has none."""
    task = labelled(now["task"]) if "task" in now else pd.Series("", now.index)
    groups = now.groupby([task, now["model_id"].astype(object)])
    return [(task, model_id, own) for (task, model_id), own in groups]


def task_said(task):
    """A task of a sentence: the kit's own names in words, those of the log as they are.

    Examples
    --------
    >>> task_said("faq_answering"), task_said("own_name")
    ('FAQ answering', 'own_name')
    """
    return task.replace("_", " ").replace("faq", "FAQ") if task in load_tasks().index else task


def _on(task):
    return f"{task_said(task)} " if task else "everything "


def _another(ahead, own, model_id, to):
    """What holds of every change of model: its tokens, its dollars, and the prices that are scheduled."""
    return {
        "rows": own,
        "usd": ahead.cost(own) - ahead.cost_on(own, to),
        "model_id": model_id,
        "to": to,
        "scheduled": ahead.changes(model_id, to),
    }


def _at_list(own):
    """What a change of model assumes of the price where the tokens are bought of another seller, region or tier."""
    plain = {("", "standard", 1.0)}
    elsewhere = {offer[2:] for offer in own.get("offer", ())} - plain
    return ", at its maker's standard price" if elsewhere else ""


def _moves(now, ahead, outcomes, terms):
    low = _lowest_tiers(now, terms.tasks)
    for task, model_id, own in _groups(now):
        to = successor(ahead.prices, model_id, ahead.on, steps_down=1)
        if not to:
            continue
        tier = tiers_of(ahead.prices, [to], [ahead.on])[0]
        status = "to test" if task in low else UNKNOWN_STAKES
        if task in low and TIERS.index(tier) < TIERS.index(low[task]):
            status = "against the task table"
        yield _another(ahead, own, model_id, to) | {
            "kind": "move",
            "what": f"{_on(task)}from {model_id} to {to} ({tier})",
            "task": task,
            "status": _finding(outcomes, task, model_id, to, terms.margin) or status,
            "assumes": "as many tokens on the cheaper model, and no context step of its own"
            + _at_list(own),
            "needs": _test(model_id, terms.margin),
        }


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
        f"a test that it is at most {100 * wanted:g} points worse than {model_id}: "
        f"about {examples:,} of your own examples if one in ten answers differs"
    )


def _batches(now, ahead, may_wait):
    for task, model_id, own in _groups(now) if "batch" in now else ():
        batch = in_batch(own)
        left = own[~batch]
        if left.empty or not (batch.any() if may_wait is None else task in may_wait):
            continue
        as_now = ", as those in batch already do" if may_wait is None else ""
        yield {
            "kind": "batch",
            "what": f"{_on(task)}on {model_id} through the batch endpoint",
            "rows": left,
            "usd": ahead.cost(left) - ahead.cost(left, batch=True),
            "task": task,
            "model_id": model_id,
            "assumes": "its answers may wait a day" + as_now,
            "scheduled": ahead.changes(model_id),
            "needs": "no test of quality: the model stays; ask who reads the answers",
        }


def _replacements(now, ahead, margin):
    for model_id, own in now.groupby(now["model_id"].astype(object)):
        if to := successor(ahead.prices, model_id, ahead.on):
            yield _another(ahead, own, model_id, to) | {
                "kind": "replace",
                "what": f"{model_id} by {to}, its tier's model in the lineup",
                "status": "to test",
                "assumes": "as many tokens on the successor, and no context step of its own"
                + _at_list(own),
                "needs": _test(model_id, margin),
            }


def _event_savings(now, ahead, events):
    """What a lasting event costs in a whole quarter, at the pace of its days and the prices of the quarter ahead."""
    if events is None:
        return
    days = (ahead.period.end_time.normalize() - ahead.period.start_time).days + 1
    lasting = events[events["lasts"] & (events["excess_usd"] > 0)]
    for event in lasting[lasting["over"].isin(["team", "cache"])].itertuples():
        rows = now[labelled(now["team" if event.over == "team" else "model_id"]) == event.name]
        spent = rows["cost_usd"].sum()
        moved = ahead.cost(rows) / spent if spent > 0 else 1.0  # what prices do to it
        found = {
            "rows": rows,
            "usd": event.excess_usd / event.days * days * (1.0 if np.isnan(moved) else moved),
        }
        if event.over == "cache":
            yield found | {
                "kind": "cache",
                "what": f"repair the prompt cache of {_on(_cached_task(rows))}on {event.name}, "
                f"broken since {day_said(event.start)}",
                "model_id": event.name,
                "task": _cached_task(rows),
                "assumes": "as much of the input is read from the cache as before",
                "needs": "no test of quality: the answers stay as they are",
            }
        elif event.usual < _HARDLY * event.seen:
            yield found | {
                "kind": "stop",
                "what": f"the calls of {event.name} that began on {day_said(event.start)}",
                "team": event.name,
                "assumes": "nobody needs them",
                "needs": "the owner of the key",
            }


def _cached_task(rows):
    """The one task among the rows that uses the cache, or "" for several or none."""
    used = rows[rows["cache_read_tokens"] > 0]
    tasks = labelled(used["task"]).unique() if "task" in used else []
    return tasks[0] if len(tasks) == 1 else ""


def _sessions(now, found):
    """Routing per session, of `per_session`."""
    if found is None:
        return
    own = now[now["model_id"].isin(found["models"])]
    rows = found["rows"]
    if "effective_usd" in now:
        ratio = own["effective_usd"].sum() / own["cost_usd"].sum()
        rows = rows.assign(effective_usd=rows["cost_usd"] * ratio)
    yield {
        "kind": "session",
        "what": f"choose the model once per session instead of at each turn ({', '.join(found['models'])})",
        "rows": rows,
        "daily": own,
        "usd": found["usd"],
        "status": "to test",
        "assumes": found["assumes"],
        "needs": "a test that the answers stay as good when a session keeps its model",
    }


def _errors(now):
    if "status" in now:
        failed = now[~now["status"].fillna("ok").isin(["ok", "truncated"])]
        yield {
            "kind": "errors",
            "what": "requests that fail",
            "rows": failed,
            "usd": failed["cost_usd"].sum(),
            "assumes": "none of them fails",
            "needs": "the reasons, by status",
        }


def without_price(account, bills, quarter, unread=None):
    """What was used or billed in a quarter and has no price.

    Parameters
    ----------
    account : tierlab.quarter.aggregate.Account
    bills : DataFrame
        From `reconciliation`: what is billed by a provider of which the log has no usage has no price either.
    quarter : str
    unread : DataFrame, optional
        `tierlab.usage.read.Account.set_aside`: rows that no reader could turn into tokens, and what they cost.

    Returns
    -------
    DataFrame
        reason, name (of a model as it was spelt, of a provider, or ""), rows, billed_usd (NaN where the log does not
        say), the most expensive first.
    """
    own = account.unpriced[account.unpriced["quarter"].isin([quarter, ""])]
    unused = bills[(bills["against"] == "bills") & (bills["priced_usd"] == 0)]
    unused = unused.groupby("provider", as_index=False)["billed_usd"].sum()
    parts = [
        own.rename(columns={"model_id": "name"}),
        unused.rename(columns={"provider": "name"}).assign(reason="billed, no usage in the log"),
    ]
    if unread is not None:
        parts.append(unread[unread["usd"] > 0].rename(columns={"usd": "billed_usd"}))
    table = pd.concat(parts).reindex(columns=["reason", "name", "rows", "billed_usd"])
    table = table.astype({"rows": float, "billed_usd": float}).fillna({"name": "", "rows": 0})
    table = table.groupby(["reason", "name"]).sum(min_count=1).reset_index()
    table = table.sort_values(["billed_usd", "rows"], ascending=False, ignore_index=True)
    return table.astype({"rows": "int64"})


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
        (priced minus billed), ratio (priced over billed, minus 1), uncovered_usd (priced spend of rows that
        do not say what was billed).
    """
    due = now["contracted_usd"] if "contracted_usd" in now else now["cost_usd"]
    own = pd.DataFrame(
        {
            "month": now["day"].dt.to_period("M").astype(str),
            "provider": now["model_id"].map(
                prices.rates.drop_duplicates("model_id").set_index("model_id")["provider"]
            ),
            "priced_usd": due,
        }
    )
    parts = []
    if "billed_usd" in now and now["billed_rows"].sum() > 0:
        usd = {"priced_usd": now["covered_usd"], "billed_usd": now["billed_usd"]}
        usd["uncovered_usd"] = due - now["covered_usd"]
        parts.append(own.assign(**usd, against="billed_usd of the rows"))
    if billed is not None and len(billed):
        day, quarter = pd.to_datetime(billed["day"]), now["day"].max().to_period("Q")
        bills = billed[day.between(quarter.start_time, quarter.end_time)]
        bills = bills.assign(month=day.dt.to_period("M").astype(str), billed_usd=bills["usd"])
        both = pd.concat([own, bills[["month", "provider", "billed_usd"]]])
        parts.append(both.assign(against="bills", uncovered_usd=0.0))
    keys, usd = ["month", "provider", "against"], ["priced_usd", "billed_usd", "uncovered_usd"]
    parts = [part.groupby(keys, as_index=False)[usd].sum() for part in parts]
    table = pd.concat([pd.DataFrame(columns=keys + usd).astype(dict.fromkeys(usd, float)), *parts])
    table.insert(5, "difference_usd", table["priced_usd"] - table["billed_usd"])
    ratio = table["priced_usd"] / table["billed_usd"].where(table["billed_usd"] != 0) - 1
    table.insert(6, "ratio", ratio)
    return table.reset_index(drop=True)


AGREES = 0.10  # how far the replay of what was run may be from the log


def per_session(cube, period, rates):
    """What it saves to keep one model for a whole session, at list prices.

    Parameters
    ----------
    cube : Cube
    period : Period
        The quarter.
    rates : Prices
        At whose `as_of` tokens are priced.

    Returns
    -------
    dict or None
        rows (the turns), usd (US dollars a quarter), models, assumes (in words).
    str
        Why there is none though the log has such sessions; "" where it has none.

    Notes
    -----
    Each session is replayed as it ran and on each of its models alone (`tierlab.routing.caches`): a change of model
    throws the cache away. A session then takes each of its models as often as that answered its turns, which keeps the
    shares of turns exactly; the first turn's model or the one most used would not. The share that this saves of the
    replay is taken of what the log says, and only if the replay of what was run is within a tenth of it.
    """
    if cube.mixed_turns > SESSION_ROWS:
        rows = f"{SESSION_ROWS:,} rows"
        return (
            None,
            f"needs at most {rows} of sessions that several models answered; there are {cube.mixed_turns:,}",
        )
    turns = cube.turns[cube.turns["quarter"] == str(period)].reset_index(drop=True)
    if turns.empty:
        return None, ""
    if not turns["cache_read_tokens"].sum() > 0:
        return (
            None,
            "needs sessions that read from a cache; those that several models answered never do",
        )
    turns = turns.assign(turn=turns.groupby("session_id").cumcount() + 1)
    models = sorted(turns["model_id"].unique())
    outcomes = conversation_outcomes(turns, dict.fromkeys(models, 1.0))
    outcomes["ran"] = turns["model_id"].to_numpy(object)[outcomes["prompt_id"]]
    caches = Caches(rates)
    ran = route(outcomes, Rules({name: name for name in models}, column="ran"), sessions=caches)
    replayed = float(ran["cost_usd"].sum())
    logged = float(price(turns[[*TOKENS, "model_id"]], rates)["cost_usd"].sum())
    if abs(replayed - logged) > AGREES * logged:
        told = f"{usd(replayed)} for what the log has as {usd(logged)}"
        return None, f"needs caches as the providers describe them: their replay comes to {told}"
    share = pd.crosstab(turns["session_id"], turns["model_id"], normalize="index")
    alone = {name: route(outcomes, Always(name), sessions=caches) for name in models}
    kept = sum(
        (costs.groupby("session_id")["cost_usd"].sum() * share[name]).sum()
        for name, costs in alone.items()
    )
    assumes = (
        "answers as good and as long from each of a session's models (an assumption: no log knows); each answers as "
        f"many turns as now; the replay of what was run comes to {usd(replayed)}, the log to {usd(logged)}"
    )
    saved = logged * (1 - float(kept) / replayed)
    return {"rows": turns, "usd": saved, "models": models, "assumes": assumes}, ""
