"""Usage that is there twice: requests written more than once, and reports of the same days.

Every row that stays says something that no other row says, as far as ids, buckets and totals can tell.
"""

from collections import deque

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.usage.sheet import mapped

OVERLAP_COLUMNS = ("provider", "what", "first_day", "last_day", "kept", "dropped", "rows")
_ANSWERED = pd.Timedelta(hours=1)  # no answer takes longer
_STREAMED = ("claude_code", "gemini")  # write an answer on several lines, each at its own time
# Of two reports of a day the better kind counts if it holds nearly as much as the fuller one.
_NEARLY = 0.9
_MAKERS = {  # how the ids of a provider's own models begin
    "anthropic": "claude",
    "openai": ("gpt", "o1", "o3", "o4"),
    "google": ("gemini", "gemma"),
}


def containers(table, aside):
    """Find the spans above other spans that have usage: what they count has been counted below them.

    Parameters
    ----------
    table, aside : DataFrame
        Rows kept and set aside. Rows of spans have `span` and `parent`, hashes (0: none) that lead upwards, also across
        spans without usage. Spans that are each other's parents in a circle are not above one another.

    Returns
    -------
    above : ndarray of bool
        Rows of `table` that are such spans.
    more : ndarray of float
        By how many tokens such a span counts more than all spans below it: calls that are missing, or its own.
    """
    links = pd.concat([table[["span", "parent"]], aside[["span", "parent"]]])
    links = links[
        (links["span"] != 0) & (links["parent"] != 0) & (links["span"] != links["parent"])
    ]
    links = links.drop_duplicates("span")
    spans = pd.Index(np.unique(links.to_numpy("uint64")))
    top = len(spans)  # stands above every span without a parent, and above itself
    up = np.full(top + 1, top)
    up[spans.get_indexer(links["span"])] = spans.get_indexer(links["parent"])
    up[deque(_doubled(up), maxlen=1)[0]] = top  # whatever lies this far up is in a circle
    tokens = counted_tokens(table)
    place = spans.get_indexer(table["span"].to_numpy("uint64"))
    above = np.zeros(top + 1, bool)
    above[up[place[tokens > 0]]] = True
    for jump in _doubled(up):
        above[jump[above]] = True
    above[top] = False
    once = ~table["span"].duplicated().to_numpy()
    below = np.zeros(top + 1)  # tokens of a span and of those below it, as far down as was stepped
    np.add.at(below, place[once], np.where(above[place], 0, tokens)[once])
    for jump in _doubled(up):
        below += np.bincount(jump[:-1], below[:-1], top + 1)
    more = np.where(above[place] & once, np.maximum(tokens - below[place], 0), 0)
    return above[place], more


def counted_tokens(table):
    """Return the tokens of each row, in buckets and in units."""
    buckets = table.reindex(columns=list(TOKEN_COLUMNS)).sum(axis=1)
    of_tokens = table.get("unit", pd.Series("", table.index)).fillna("").str.endswith("_tokens")
    quantity = table.get("quantity", pd.Series(0.0, table.index)).fillna(0)
    return (buckets + quantity.where(of_tokens, 0)).to_numpy(float)


def _doubled(up):
    """Yield where 1, 2, 4, ... steps upwards lead, until all have arrived or only circles are left."""
    for _ in range(len(up).bit_length() + 1):
        yield up
        up = up[up]


def _calls(logs):
    """Return `inputs` and `round`, which are the same in those rows of one key that are one call.

    An id whose input counts differ is not the same call (a relay may give every answer one id), nor are rows with two
    different `call`s. If a format names no call, rows are one call if time and model are the same; rows without tokens
    yet, rows that their source updates and the lines of a stream (`_STREAMED`) need neither. The n-th call of an id in
    one format is the n-th in another, within an hour.
    """
    inputs = logs[list(TOKEN_COLUMNS[:-1])].sum(axis=1)
    empty = (inputs == 0) & (logs["output_tokens"] == 0)
    updated = logs["updated"].notna() if "updated" in logs else pd.Series(False, logs.index)
    most = inputs.groupby(logs["key"]).transform("max")
    inputs = inputs.mask(empty, most).mask(updated, 0)
    named = logs["call"] != 0
    same = inputs.groupby([logs["key"], logs["call"]]).transform("max")
    inputs = inputs.mask(named, same)
    apart = ~(named | empty | updated | logs["format"].isin(_STREAMED))
    found = logs[["key", "call", "format", "at"]].assign(
        inputs=inputs,
        apart_at=logs["at"].where(apart),
        apart_model=logs["model_id"].where(apart),
        told_apart=named | apart,
    )
    found = found.sort_values("at", kind="stable")
    one = ["key", "inputs", "format", "call", "apart_at", "apart_model"]
    seen = found[found["told_apart"]].groupby(one, sort=False, dropna=False).ngroup()
    # A row's place is the number of its call among the calls that have its id, input and format.
    place = seen.groupby([found[name] for name in one[:3]]).rank("dense")
    found["place"] = place.reindex(found.index).fillna(1)
    found = found.sort_values(["key", "inputs", "place", "at"])
    alike = found.groupby(["key", "inputs"])
    later = alike["at"].diff() > _ANSWERED
    later &= (found["call"] == 0) | (found["call"] != alike["call"].shift(fill_value=np.uint64(0)))
    later = later & ~updated | (alike["place"].diff() > 0)
    return found[["inputs"]].assign(round=later.groupby([found["key"], found["inputs"]]).cumsum())


def repeats(table, twice):
    """Find the rows that say again what another row says; a request that stays gets the first time of all its copies.

    Of a request, the copy that was updated last stays, or the one with the most output. Of a report's bucket, exact
    copies are dropped; if files differ about it, the one that holds more of it stays (reports fill up for hours).

    Parameters
    ----------
    table : DataFrame
        Rows of all files with key (0: nothing names the row), kind, file and the columns of the readers.
    twice : ndarray of bool
        Rows that are known to be repeats.

    Returns
    -------
    table : DataFrame
        The same rows, with repeated requests at the first time of all copies.
    twice : ndarray of bool
        Rows that are repeats.
    again : ndarray of bool
        Rows that count as calls of their own though an earlier row has the same id and input.
    """
    twice, again = twice.copy(), np.zeros(len(table), bool)
    part = table[(table["key"] != 0) & ~twice]
    part = part[part["key"].duplicated(keep=False)]
    logs, reports = part[part["kind"] == "requests"], part[part["kind"] != "requests"]
    if len(logs):
        found = _calls(logs)
        again[found.index[found["round"] > 0]] = True
        logs = logs.assign(**found, cached=-logs["uncached_input_tokens"])
        call = ["key", *found]
        first = logs.groupby(call)["at"].transform("min")
        table = table.assign(at=first.reindex(table.index).fillna(table["at"]))
        best = [name for name in ("updated", "output_tokens", "cached") if name in logs]
        order = logs.sort_values(best, ascending=False, kind="stable")
        twice[order.index[order.duplicated(call)]] = True
    if len(reports):
        values = [name for name in (*TOKEN_COLUMNS, "usd", "billed_usd") if name in reports]
        exact = reports.duplicated(["key", *values])
        twice[reports.index[exact]] = True
        left = reports[~exact]
        amounts = left[values].abs().sum(axis=1)
        size = amounts.groupby([left["key"], left["file"]]).transform("sum")
        best = left["file"].reindex(size.groupby(left["key"]).transform("idxmax"))
        twice[left.index[left["file"].to_numpy() != best.to_numpy()]] = True
    return table, twice, again & ~twice


def covered(table, twice, order):
    """Mark and list the rows of reports whose provider and day another report covers.

    Two files of one format that hold the same amount of a day under different groupings are the same usage, and the
    finer one counts. Of two formats the better kind counts (`order`), unless it holds less than nine tenths.

    Parameters
    ----------
    table : DataFrame
        Rows of all files, as in `repeats`.
    twice : ndarray of bool
        Rows that are known to be repeats.
    order : list of str
        Formats, the best first.

    Returns
    -------
    twice : ndarray of bool
        The same, with the rows that are covered.
    overlaps : DataFrame
        `OVERLAP_COLUMNS`.
    """
    rows = table[(table["kind"] != "requests") & ~twice & table["at"].notna()]
    if rows["file"].nunique() < 2:
        return twice, pd.DataFrame(columns=list(OVERLAP_COLUMNS))
    money = rows["kind"].eq("money")
    tokens = rows.reindex(columns=list(TOKEN_COLUMNS)).sum(axis=1)
    rows = rows.assign(
        day=rows["at"].dt.floor("D"),
        size=tokens.where(~money, rows["usd"].abs() if "usd" in rows else 0.0),
    )
    scope = ["provider", "kind", "day"]
    files = rows.groupby([*scope, "format", "file"])["size"].agg(["sum", "size"]).reset_index()
    files["total"] = files["sum"].round(6)
    finest = (
        files.sort_values("size", ascending=False, kind="stable")
        .duplicated([*scope, "format", "total"])
        .sort_index()
    )
    same = files[finest & (files["total"] > 0)].assign(
        kept=lambda found: found["format"] + " (finer grouping)"
    )
    rest = files.drop(same.index).groupby([*scope, "format"])["sum"].sum().reset_index()
    rest["rank"] = rest["format"].map({name: rank for rank, name in enumerate(order)})
    enough = rest["sum"] >= _NEARLY * rest.groupby(scope)["sum"].transform("max")
    best = rest[enough].sort_values("rank").drop_duplicates(scope).set_index(scope)["format"]
    rest["kept"] = pd.MultiIndex.from_frame(rest[scope]).map(best)
    other = rest[rest["kept"] != rest["format"]]
    hits = [
        rows.reset_index().merge(lost[[*on, "kept"]], on=on).drop_duplicates("index")
        for lost, on in ((same, [*scope, "format", "file"]), (other, [*scope, "format"]))
    ]
    hit = pd.concat(hits).assign(
        dropped=lambda rows: rows["format"], what=lambda rows: rows["kind"]
    )
    return twice | table.index.isin(hit["index"]), _listed(hit)


def logged_and_reported(kept):
    """List the days on which a provider's usage is there as single requests and as a report; drop nothing."""
    days = kept[kept["kind"].isin(["requests", "usage"]) & kept["at"].notna()]
    through = days["format"].eq("openrouter")  # bought from OpenRouter, whoever made the model
    maker = pd.Series(mapped(days["model_id"], _maker), days.index, object).fillna("")
    maker = maker.mask(through, "openrouter")
    days = days.assign(
        provider=days["provider"].where(days["kind"] == "usage", maker),
        day=days["at"].dt.floor("D"),
    )
    both = days.groupby(["provider", "day"])["kind"].nunique()
    hit = days.merge(both[both > 1].reset_index()[["provider", "day"]], on=["provider", "day"])
    formats = hit.groupby("provider")["format"].agg(lambda names: ", ".join(sorted(set(names))))
    return _listed(
        hit.assign(
            kept=hit["provider"].map(formats), dropped="", what="single requests and reports"
        )
    )


def shared(kept):
    """List the days on which files of one format have equal requests, or have each a report; drop nothing.

    Such files may be exports that overlap, or may come from two accounts: nothing in them says which.
    """
    if kept["file"].nunique() < 2:
        return pd.DataFrame(columns=list(OVERLAP_COLUMNS))
    rows = kept[kept["at"].notna()].assign(day=lambda rows: rows["at"].dt.floor("D"))
    single = rows["kind"] == "requests"
    hits = []
    for part, on, what in (
        (rows[single & (rows["key"] == 0)], ["at", "model_id", *TOKEN_COLUMNS], "requests"),
        (rows[~single], ["provider", "kind", "day"], "reports"),
    ):
        part = part.reindex(columns=part.columns.union(on, sort=False))
        same = part[["format", *on, "file"]].drop_duplicates()
        files = same[same.duplicated(["format", *on], keep=False)]
        hit = part.merge(files, on=[*files.columns])
        hits.append(hit.assign(what=f"{what} in two files of one format"))
    hit = pd.concat(hits)
    return _listed(hit.assign(kept=hit["format"], dropped=""))


def _maker(model_id):
    return next((maker for maker, starts in _MAKERS.items() if model_id.startswith(starts)), "")


def _listed(hit):
    groups = hit.groupby(["provider", "what", "kept", "dropped"], sort=False)["day"]
    listed = groups.agg(first_day="min", last_day="max", rows="size").reset_index()
    return listed[list(OVERLAP_COLUMNS)]
