"""What could be saved in the quarter ahead, ranked; and the quarter's priced spend against what was billed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.tables import load_tasks
from tierlab.core.vocabulary import TIERS, task_name, unknown
from tierlab.decide.record import Record
from tierlab.evaluate.compare import compare
from tierlab.evaluate.planning import required_examples
from tierlab.prices.daily import in_batch, labelled, tiers_of
from tierlab.prices.pricing import price
from tierlab.quarter.aggregate import SESSION_ROWS
from tierlab.quarter.ahead import RETIRE_DAYS, successor
from tierlab.quarter.engine import TOKENS
from tierlab.quarter.outlook import day_said
from tierlab.routing.policies import Always, Rules
from tierlab.routing.route import route
from tierlab.routing.sessions import Caches, conversation_outcomes

COLUMNS = ["kind", "what", "usd", "spend_usd", "spend_share", "status", "assumes", "needs"]
COLUMNS += ["scheduled", "task", "model_id", "to", "team", "teams"]
# The share of examples on which two near-equal models disagree, to plan the number of examples.
DISCORDANT = 0.10
UNKNOWN_STAKES = "stakes not said"
HELD = ("worse", "against the task table", UNKNOWN_STAKES)
STATUSES = {  # a status in words, where it does not say so itself
    "against the task table": "the task needs a higher tier",
    UNKNOWN_STAKES: "nobody has said what a wrong answer costs",
}
SURE = ("", "not worse")  # statuses of what needs no test any more
SMALL = 0.005  # share of the quarter's spend; a smaller saving is not worth a decision
_HARDLY = 0.1  # share of what a team spends now; if it spent less before, it was not meant to spend


@dataclass(frozen=True)
class Terms:
    """What a team says about its own work, which decides how far advice may go.

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
        How far ahead to look for models that retire (days after the day of the report, at least 1).
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
    """Propose what to change, with the US dollars that it saves per quarter.

    Parameters
    ----------
    ahead : Ahead
        The quarter's rows and contract, and the day of the report, whose lineup applies. Rates are the mean of those
        scheduled for the first whole quarter from that day on.
    events : DataFrame, optional
        From `tierlab.quarter.outlook.anomalies`: caches that broke, and teams that suddenly spend.
    outcomes : DataFrame, optional
        Scores of both models settle the status of a move, by `tierlab.compare` with the margin of `terms`.
    terms : Terms, optional
    sessions : dict, optional
        From `per_session`.

    Returns
    -------
    DataFrame
        A proposal per row, the largest saving first: kind ("stop", "cache", "move", "batch", "replace", "session",
        "errors"), what, usd (US dollars saved in the quarter ahead), spend_usd (what the traffic concerned cost in this
        quarter) and spend_share (its share of this quarter's spend), status ("to test", "not worse", "worse", "cannot
        tell", "against the task table", "stakes not said", ""), assumes, needs, scheduled (which rates change until the
        end of the quarter ahead, and when; "" for none), task, model_id, to, team, teams (whose spend it concerns, the
        largest first), rows (those concerned) and change (`Ahead.change`).

        Proposals do not add up, because two can concern the same tokens (`ranked` picks some that do not). Savings
        under half a per cent of the spend are left out, and so are models without a rate for what is proposed. Under a
        contract usd is what is saved at effective rates, beside list_usd, contracted_usd and paid_usd (what the traffic
        concerned cost under the contract); `assumes` says what is lost to a commitment that stays unused.

    Raises
    ------
    ValueError
        If `terms` names a task that the log does not have.

    Notes
    -----
    A move goes one tier down within the provider's lineup, with the same number of tokens. The task table
    (data/tasks.csv, after the article) holds back a move below the lowest tier of a task. For a task that the table
    does not know, nobody has said what a wrong answer costs: its moves are held back until a test or `Terms.tasks`
    says more.
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
    table["teams"] = [teams_of(row.rows, row.task) for row in table.itertuples()]
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
        # A commitment or capacity that then stays unused takes a part of the saving.
        lost = table["contracted_usd"] - table["usd"]
        said = [f"; {usd(x)} of it is lost to what stays unused of the contract" for x in lost]
        table["assumes"] += pd.Series(said, lost.index, dtype=object).where(lost >= 0.005, "")
        table = table[table["usd"] >= SMALL * spend]
    return table.sort_values("usd", ascending=False, kind="stable", ignore_index=True)


def teams_of(rows, task):
    """Name the teams of a task's rows, or of all rows without a task, the largest spend first."""
    if "team" not in rows:
        return ""
    if task and "task" in rows:
        rows = rows[labelled(rows["task"]) == task]
    usd = rows.groupby(labelled(rows["team"]))["cost_usd"].sum()
    return ", ".join(usd[usd > 0].sort_values(ascending=False).index)


def ranked(table, now):
    """Pick up to three decisions among proposals.

    Parameters
    ----------
    table : DataFrame
        From `savings`.
    now : DataFrame
        Rows of `Cube.daily` of the quarter.

    Returns
    -------
    DataFrame
        `table` with place (1 to 3 for a decision, else 0) and overlaps (the place of the decision that already concerns
        tokens of a proposal; 0 for none). Decisions are the largest savings that are not held back and do not concern
        the same tokens twice.
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
    """Return what decisions save together (US dollars).

    Under a contract this is not their sum, because what stays unused depends on all of them at once.
    """
    if ahead.contract is None or decided.empty:
        return float(decided["usd"].sum())
    return ahead.deal.saving(*decided["change"])[1]


def _lowest_tiers(now, tasks):
    """Return the lowest tier of each task, by the names of the task table and those of the log."""
    low = load_tasks()["tier_low"].to_dict()
    own = set(labelled(now["task"])) if "task" in now else set()
    for name in tasks:
        if name not in own:
            raise ValueError(unknown("task of the log", name, sorted(own)))
    return low | {name: low[ours] for name, ours in tasks.items()}


def _groups(now):
    """Group rows by task ("" where the log has none) and model."""
    task = labelled(now["task"]) if "task" in now else pd.Series("", now.index)
    return now.groupby([task, now["model_id"].astype(object)])


def task_said(task):
    """Return the name of a task for a sentence: the kit's own names in words, those of the log as they are.

    Examples
    --------
    >>> task_said("faq_answering"), task_said("own_name")
    ('FAQ answering', 'own_name')
    """
    return task_name(task) if task in load_tasks().index else task


def said_on(task):
    return f"{task_said(task)} " if task else "everything "


def _another(ahead, own, model_id, to):
    """Return what every change of model has: its rows, its saving, and the prices that are scheduled."""
    return {
        "rows": own,
        "usd": ahead.cost(own) - ahead.cost_on(own, to),
        "model_id": model_id,
        "to": to,
        "scheduled": ahead.changes(model_id, to),
    }


def _at_list(own):
    """Say what a change of model assumes about the price where the tokens come from another seller, region or tier."""
    plain = {("", "standard", 1.0)}
    elsewhere = {offer[2:] for offer in own.get("offer", ())} - plain
    return ", at its maker's standard price" if elsewhere else ""


def _moves(now, ahead, outcomes, terms):
    low = _lowest_tiers(now, terms.tasks)
    for (task, model_id), own in _groups(now):
        to = successor(ahead.prices, model_id, ahead.on, steps_down=1)
        if not to:
            continue
        tier = tiers_of(ahead.prices, [to], [ahead.on])[0]
        status = "to test" if task in low else UNKNOWN_STAKES
        if task in low and TIERS.index(tier) < TIERS.index(low[task]):
            status = "against the task table"
        yield _another(ahead, own, model_id, to) | {
            "kind": "move",
            "what": f"{said_on(task)}from {model_id} to {to} ({tier})",
            "task": task,
            "status": _finding(outcomes, task, model_id, to, terms.margin) or status,
            "assumes": "as many tokens on the cheaper model, and no context step of its own"
            + _at_list(own),
            "needs": _test(model_id, terms.margin),
        }


def _finding(outcomes, task, model_id, to, margin):
    """Return what the outcomes say about a move; "" where they lack one of the models, or there is no margin."""
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
    for (task, model_id), own in _groups(now) if "batch" in now else ():
        batch = in_batch(own)
        left = own[~batch]
        if left.empty or not (batch.any() if may_wait is None else task in may_wait):
            continue
        as_now = ", as those in batch already do" if may_wait is None else ""
        yield {
            "kind": "batch",
            "what": f"{said_on(task)}on {model_id} through the batch endpoint",
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
    """Propose to end lasting events: what each costs in a whole quarter at its daily pace and the prices ahead."""
    if events is None:
        return
    days = (ahead.period.end_time.normalize() - ahead.period.start_time).days + 1
    lasting = events[events["lasts"] & (events["excess_usd"] > 0)]
    for event in lasting[lasting["over"].isin(["team", "cache"])].itertuples():
        rows = now[labelled(now["team" if event.over == "team" else "model_id"]) == event.name]
        spent = rows["cost_usd"].sum()
        moved = ahead.cost(rows) / spent if spent > 0 else 1.0  # what the prices ahead do to it
        found = {
            "rows": rows,
            "usd": event.excess_usd / event.days * days * (1.0 if np.isnan(moved) else moved),
        }
        if event.over == "cache":
            yield found | {
                "kind": "cache",
                "what": f"repair the prompt cache of {said_on(cached_task(rows))}on {event.name}, "
                f"broken since {day_said(event.start)}",
                "model_id": event.name,
                "task": cached_task(rows),
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


def cached_task(rows):
    """Return the one task that reads from the cache, or "" for several or none."""
    used = rows[rows["cache_read_tokens"] > 0]
    tasks = labelled(used["task"]).unique() if "task" in used else []
    return tasks[0] if len(tasks) == 1 else ""


def _sessions(now, found):
    """Propose to choose the model once per session, with what `per_session` found."""
    if found is None:
        return
    own, rows = now[now["model_id"].isin(found["models"])], found["rows"]
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
    """List what was used or billed in a quarter and has no price.

    Parameters
    ----------
    account : tierlab.quarter.aggregate.Account
    bills : DataFrame
        From `reconciliation`. What a provider bills without usage in the log has no price either.
    quarter : str
        Such as "2026Q3".
    unread : DataFrame, optional
        `tierlab.usage.read.Account.set_aside`: rows that no reader could turn into tokens, and what they cost.

    Returns
    -------
    DataFrame
        reason, name (of a model as it was spelt, of a provider, or ""), rows, billed_usd (US dollars; NaN where the log
        does not say), the most expensive first.
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
    """Compare priced spend with what was billed, by month and provider.

    Parameters
    ----------
    now : DataFrame
        Rows of `Cube.daily` of the quarter.
    prices : Prices
        The catalogue that priced them.
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


AGREES = 0.10  # share of the logged cost by which the replay of what was run may differ


def per_session(cube, period, rates):
    """Work out what it saves to keep one model for a whole session, at list prices.

    Parameters
    ----------
    cube : Cube
    period : Period
        The quarter.
    rates : Prices
        Tokens are priced at its `as_of`.

    Returns
    -------
    dict or None
        rows (the turns), usd (US dollars a quarter), models, assumes (in words).
    str
        Why there is no result though the log has such sessions; "" otherwise.

    Notes
    -----
    Each session is replayed as it ran and on each of its models alone (`tierlab.routing.sessions`): a change of model
    throws the cache away. A session is then kept on each of its models with the share of its turns that the model
    answered, which leaves the models' shares of turns as they are; the first turn's model or the one most used would
    not. The share of the replayed cost that this saves is applied to the logged cost, and only if the replay of what was
    run is within a tenth of it.
    """
    if cube.mixed_turns > SESSION_ROWS:
        why = f"needs at most {SESSION_ROWS:,} rows of sessions that several models answered"
        return None, f"{why}; there are {cube.mixed_turns:,}"
    turns = cube.turns[cube.turns["quarter"] == str(period)].reset_index(drop=True)
    if turns.empty:
        return None, ""
    if not turns["cache_read_tokens"].sum() > 0:
        why = "needs sessions that read from a cache; those that several models answered never do"
        return None, why
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
    kept = 0.0
    for name in models:
        alone = route(outcomes, Always(name), sessions=caches)
        kept += float((alone.groupby("session_id")["cost_usd"].sum() * share[name]).sum())
    assumes = (
        "answers as good and as long from each of a session's models (an assumption: no log knows); each answers as "
        f"many turns as now; the replay of what was run comes to {usd(replayed)}, the log to {usd(logged)}"
    )
    saved = logged * (1 - kept / replayed)
    return {"rows": turns, "usd": saved, "models": models, "assumes": assumes}, ""
