"""The same usage twice: requests written more than once, reports of the same days.

Every row that stays says something that no other row says, as far as ids, buckets and totals can tell.
"""

from collections import deque

import numpy as np
import pandas as pd

from tierlab.core.tables import TOKEN_COLUMNS
from tierlab.prices.names import PROVIDERS

OVERLAP_COLUMNS = ("provider", "what", "first_day", "last_day", "kept", "dropped", "rows")
_ANSWERED = pd.Timedelta(hours=1)  # no answer takes longer
_STREAMED = ("claude_code",)  # writes an answer on several lines, each at its own time
_NEARLY = (
    0.9  # of two reports of a day that hold about as much, the better kind counts; else the fuller
)


def containers(table, aside):
    """Which rows are spans above other spans that have usage: what they count has been counted below them.

    Parameters
    ----------
    table, aside : DataFrame
        Rows kept and set aside. Those of spans have `span` and `parent`, hashes (0: none) that lead upwards also over
        spans without usage. Spans in a circle of parents are above none of each other.

    Returns
    -------
    above : ndarray of bool
    more : ndarray of float
        By how many tokens such a span counts more than all spans below it: calls that are missing, or were its own.
    """
    links = pd.concat([table[["span", "parent"]], aside[["span", "parent"]]])
    links = links[
        (links["span"] != 0) & (links["parent"] != 0) & (links["span"] != links["parent"])
    ]
    links = links.drop_duplicates("span")
    spans = pd.Index(np.unique(links.to_numpy("uint64")))
    top = len(spans)  # what stands above a span without a parent, and above itself
    up = np.full(top + 1, top)
    up[spans.get_indexer(links["span"])] = spans.get_indexer(links["parent"])
    up[deque(_doubled(up), maxlen=1)[0]] = top  # so far up there are only circles
    tokens = counted_tokens(table)
    place = spans.get_indexer(table["span"].to_numpy("uint64"))
    above = np.zeros(top + 1, bool)
    above[up[place[tokens > 0]]] = True
    for jump in _doubled(up):
        above[jump[above]] = True
    above[top] = False
    once = ~table["span"].duplicated().to_numpy()
    below = np.zeros(top + 1)  # tokens of a span and of those as many steps below it as were taken
    np.add.at(below, place[once], np.where(above[place], 0, tokens)[once])
    for jump in _doubled(up):
        below += np.bincount(jump[:-1], below[:-1], top + 1)
    more = np.where(above[place] & once, np.maximum(tokens - below[place], 0), 0)
    return above[place], more


def counted_tokens(table):
    """Tokens of each row, in buckets and in units."""
    buckets = table.reindex(columns=list(TOKEN_COLUMNS)).sum(axis=1)
    of_tokens = table.get("unit", pd.Series("", table.index)).fillna("").str.endswith("_tokens")
    quantity = table.get("quantity", pd.Series(0.0, table.index)).fillna(0)
    return (buckets + quantity.where(of_tokens, 0)).to_numpy(float)


def _doubled(up):
    """Where 1, 2, 4, ... steps upwards lead, until all have arrived or only circles are left."""
    for _ in range(len(up).bit_length() + 1):
        yield up
        up = up[up]


def _calls(logs):
    """For each row of a log what is the same in rows of one key that are one call: (input tokens, round).

    An id whose input counts differ is not the same call (a relay that gives every answer one id), nor are rows of
    two different `call`s. Where a format names no call, its rows are one if time and model are the same, but for
    rows that tell no tokens yet, those that their source updates, and the lines of a stream (`_STREAMED`). The n-th
    call of an id in one format is the n-th in another, within an hour.
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
    found = logs[["key", "call", "format"]].assign(
        inputs=inputs, at=logs["at"], apart_at=logs["at"].where(apart)
    )
    found["apart_model"] = logs["model_id"].where(apart)
    found = found.sort_values("at", kind="stable")
    one = ["key", "inputs", "format", "call", "apart_at", "apart_model"]
    seen = (
        found[(named | apart).reindex(found.index)].groupby(one, sort=False, dropna=False).ngroup()
    )
    places = [found[name].reindex(seen.index) for name in one[:3]]
    found["place"] = seen.groupby(places).rank("dense")
    found["place"] = found["place"].fillna(1)
    found = found.sort_values(["key", "inputs", "place", "at"])
    alike = found.groupby(["key", "inputs"])
    later = alike["at"].diff() > _ANSWERED
    later &= (found["call"] == 0) | (found["call"] != alike["call"].shift(fill_value=np.uint64(0)))
    later = later & ~updated | (alike["place"].diff() > 0)
    return found[["inputs"]].assign(round=later.groupby([found["key"], found["inputs"]]).cumsum())


def repeats(table, twice):
    """Which rows say again what another row says; of a request, the row that stays gets the first time of all copies.

    Of a request the copy that was updated last stays, or the one with the most output. Of a report bucket an exact
    copy is dropped, and where files differ about a bucket the one that holds more of it stays (reports fill up for hours).

    Parameters
    ----------
    table : DataFrame
        Rows of all files with key (0: nothing names the row), kind, file and the columns of the readers.
    twice : ndarray of bool
        Rows that are known to be repeats.

    Returns
    -------
    table : DataFrame
        The same rows, those of repeated requests at the first time of all copies.
    twice : ndarray of bool
    again : ndarray of bool
        Rows that are taken as calls of their own though an earlier one has the same id and input.
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
        size = (
            left[values]
            .abs()
            .sum(axis=1)
            .groupby([left["key"], left["file"]])
            .sum()
            .reset_index(name="size")
        )
        best = (
            size.sort_values("size", ascending=False, kind="stable")
            .drop_duplicates("key")
            .set_index("key")["file"]
        )
        twice[left.index[left["file"].to_numpy() != left["key"].map(best).to_numpy()]] = True
    return table, twice, again & ~twice


def covered(table, twice, order):
    """The rows of reports whose provider and day another report covers, marked and listed.

    Two files of one format that hold the same amount of a day under different groupings are the same usage: the
    finer one counts. Of two formats the better kind counts (`order`), unless it holds less than nine tenths.

    Parameters
    ----------
    table : DataFrame
    twice : ndarray of bool
        Rows that are known to be repeats.
    order : list of str
        Formats, the best first.

    Returns
    -------
    twice : ndarray of bool
        With the rows that are covered.
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
    """Days on which a provider's usage is there as single requests and as a report; nothing is dropped."""
    days = kept[kept["kind"].isin(["requests", "usage"]) & kept["at"].notna()]
    through = days["format"].eq("openrouter")  # bought from OpenRouter, whoever made the model
    maker = _makers(days["model_id"]).mask(through, "openrouter")
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
    """Days on which files of one format tell the same requests, or each a report; nothing is dropped.

    Such files may be exports that overlap, or of two accounts: nothing in them says which.
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


def _makers(model_ids):
    """The provider that makes a model, by the start of its id; "" for one of another maker."""
    starts = [
        (start, provider)
        for provider, names in PROVIDERS.items()
        for start in (*names, "gpt", "o1", "o3", "o4")
        if start and (start.startswith(("gpt", "o")) == (provider == "openai"))
    ]
    codes, names = pd.factorize(model_ids)
    makers = [
        next((provider for start, provider in starts if str(name).startswith(start)), "")
        for name in names
    ]
    return pd.Series(np.array([*makers, ""], object)[codes], model_ids.index)


def _listed(hit):
    groups = hit.groupby(["provider", "what", "kept", "dropped"], sort=False)["day"]
    listed = groups.agg(first_day="min", last_day="max", rows="size").reset_index()
    return listed[list(OVERLAP_COLUMNS)]
