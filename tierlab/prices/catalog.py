"""Prices on a date: catalogues, lineups, model names, changes and age.

A catalogue is one table (`Prices.frame`): a row has one model's rates from a date on, above a context length,
in USD per million tokens. Two come with the kit: "article" (the lineup of 2026-06-12 as the article states it)
and "maintained" (the genai-prices package, with its gaps filled from data/overlay.csv, each fact with its
source). You can also use a CSV or Parquet file of your own with the same columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.paths import DATA
from tierlab.core.tables import iso_day
from tierlab.core.vocabulary import RATES, TIERS, unknown
from tierlab.prices import maintained
from tierlab.prices.names import PROVIDERS, Resolved, platform_of, resolved, sold_as
from tierlab.prices.names import lineups as known_lineups
from tierlab.prices.table import KEY, MARKS, read_table

STALE_AFTER_DAYS = 180  # half a year
SINCE_EVER = pd.Timestamp("1700-01-01")  # stands for an unknown first date of a rate


@dataclass(frozen=True, eq=False, repr=False)
class Prices:
    """A catalogue of prices, seen from one day.

    Attributes
    ----------
    frame : DataFrame
        The prices table with its full history: one row per model, date from which the rates hold, and context
        length above which they hold. Rates are in USD per million tokens; NaN is a rate that the catalogue lacks.
    as_of : Timestamp
        The day from which the catalogue is seen.
    source : str
        Name and version of the catalogue and the day on which it was checked.
    lineups : DataFrame
        Which model stands for which tier, and from which date.
    ends : DataFrame
        Dated ends other than changes of a rate (a mode of a model that is withdrawn).
    aliases : dict of str to Resolved
        Your own names (of deployments, for example) for a model, and where it is bought.
    beside : DataFrame, optional
        Your own rates for other sellers, regions or service tiers.
    hosted : bool
        Whether the rates of all other sellers, regions and service tiers of genai-prices are available as well.
    """

    frame: pd.DataFrame
    as_of: pd.Timestamp
    source: str
    lineups: pd.DataFrame
    ends: pd.DataFrame
    aliases: dict = field(default_factory=dict)
    beside: pd.DataFrame | None = None
    hosted: bool = False

    def __repr__(self):
        return f"Prices({self.source}; as of {self.as_of:%Y-%m-%d}; {len(self.rows_of)} models)"

    def in_force(self, on=None):
        """Return the rows that hold on a day: one per model and context step.

        Before a model's first known rate, its first rate is returned; `tierlab.price` flags such rows.

        Parameters
        ----------
        on : str or Timestamp, optional
            ISO date; by default `as_of`.
        """
        begun = int(np.searchsorted(self._begins, _day(on, self.as_of), side="right"))
        if begun not in self._held:  # between two dates nothing changes
            self._held[begun] = self._in_force(self.frame, on)
        return self._held[begun].copy()

    @cached_property
    def _begins(self):
        return np.unique(self.frame["valid_from"].dropna())

    @cached_property
    def _held(self):
        return {}

    def offered(self, name, on=None):
        """Return all rates of one model that hold on a day: a row per seller, region, service tier and context step.

        Parameters
        ----------
        name : str
            The model in any spelling.
        on : str or Timestamp, optional
            ISO date; by default `as_of`.

        Raises
        ------
        ValueError
            If the model is unknown or has no price; the nearest name is given.
        """
        model_id = self.alias(name).model_id
        if model_id not in self.sellers:
            raise ValueError(self.no_price(name, model_id))
        return self._in_force(self.rates[self.rates["model_id"] == model_id], on)

    def _in_force(self, frame, on):
        start = frame["valid_from"].fillna(SINCE_EVER)
        held = start.where(start <= _day(on, self.as_of))
        keys = [frame[column] for column in KEY]
        newest = held.groupby(keys).transform("max")
        newest = newest.fillna(start.groupby(keys).transform("min"))
        return frame[start == newest].reset_index(drop=True)

    def lineup(self, on=None):
        """Return a table of model ids, providers down and tiers across.

        Parameters
        ----------
        on : str or Timestamp, optional
            ISO date; by default `as_of`.

        Raises
        ------
        ValueError
            If the day lies before the first known lineup.
        """
        if on is None:
            return self._lineup_now.copy()
        rows = self._lineup_rows(on).dropna(subset="tier")
        table = rows.pivot(index="provider", columns="tier", values="model_id")
        providers = dict.fromkeys([*PROVIDERS, *self.frame["provider"]])
        return table.reindex(columns=list(TIERS)).reindex(
            [p for p in providers if p in table.index]
        )

    @cached_property
    def _lineup_now(self):
        return self.lineup(self.as_of)

    def models(self, on=None, *, reasoning=False):
        """Return the model ids of the lineup by provider and tier, followed by the reasoning models if asked for."""
        names = self.lineup(on).stack().dropna().tolist()
        if reasoning:
            rows = self._lineup_rows(on)
            names += rows.loc[rows["tier"].isna(), "model_id"].tolist()
        return names

    def resolve(self, name):
        """Return the model id that any usual spelling of a name stands for.

        Names with a provider's prefix (``openai/``, ``models/``), display names, and the spellings of Bedrock and
        Vertex are understood. A dated snapshot is understood only where the maintained catalogue says that it has
        the same price as the model.

        Raises
        ------
        ValueError
            If the name is unknown, or known but without a price in this catalogue. The message has the nearest name.

        Examples
        --------
        >>> load_prices("article").resolve("Gemini 3.1 Pro")
        'gemini-3.1-pro-preview'
        """
        found = self.alias(name)
        if found.model_id in self.rows_of:
            return found.model_id
        raise ValueError(self.no_price(name, found.model_id))

    def alias(self, name):
        """Return what a spelling names (a `Resolved`): your own ids and aliases come before those of the catalogue."""
        if name in self.rows_of:
            return Resolved(name)
        return self.aliases.get(name) or resolved(str(name), self._ids)

    def named(self, given):
        """Return what an alias is for: a model in any spelling, or a mapping of model, platform, region and tier."""
        given = {"model": given} if isinstance(given, str) else dict(given)
        found = self.alias(given["model"])
        if found.model_id is None:
            raise ValueError(self.no_price(given["model"], None))
        return Resolved(
            found.model_id,
            platform_of(given["platform"]) if given.get("platform") else found.platform,
            given.get("region") or found.region,
            given.get("tier") or found.service_tier,
        )

    def no_price(self, name, model_id):
        """Say why a name has no price in this catalogue."""
        if model_id in self.sellers:
            sold = ", ".join(sorted(self.sellers[model_id]))
            return f"model {name!r} ({model_id}) is not sold by its maker in {self.source}; others sell it: {sold}"
        if model_id is not None:
            return f"model {name!r} ({model_id}) has no price in {self.source}"
        return unknown("model", name, sorted({*self.rows_of, *self.aliases}))

    @cached_property
    def rates(self):
        """Prices table of all sellers, regions and service tiers: `frame` first, then what others sell."""
        rates = self.frame
        for more in (self.beside, maintained.others() if self.hosted else None):
            if more is not None:
                known = pd.MultiIndex.from_frame(rates[KEY])
                more = more[~pd.MultiIndex.from_frame(more[KEY]).isin(known)]
                rates = pd.concat([rates, more], ignore_index=True)
        return rates

    @cached_property
    def sellers(self):
        """Model id -> platform -> (region, service tier) -> positions of its rows in `rates`."""
        found = {}
        for (model_id, platform, region, tier), rows in self.rates.groupby(
            KEY, sort=False
        ).indices.items():
            places = found.setdefault(model_id, {}).setdefault(platform, {})
            places[(region, tier)] = tuple(rows.tolist())
        return found

    def maker(self, sellers):
        """Return the maker of a model, given its entry in `sellers`."""
        rows = next(iter(next(iter(sellers.values())).values()))
        return self.rates["provider"].iat[rows[0]]

    def listed_as(self, spelling, platform, model_id):
        """Return the id under which a platform sells what a spelling names: its own listing, where it has one."""
        own = sold_as().get((platform, str(spelling).lower())) if self.hosted and platform else None
        return own if own in self.sellers else model_id

    def diff(self, other):
        """List the rates in force that differ between this catalogue and another, for the models that both have.

        Parameters
        ----------
        other : Prices

        Returns
        -------
        DataFrame
            model_id, context_above, rate, here, there (USD per million tokens), ratio = there / here.
            A context step that only one of them has is NaN on the other side.
        """
        key = ["model_id", "context_above"]
        left, right = (
            p.in_force()[[*key, *RATES]].melt(key, var_name="rate", value_name=side)
            for p, side in ((self, "here"), (other, "there"))
        )
        both = left.merge(right, on=[*key, "rate"], how="outer")
        sides = both.groupby(["model_id", "rate"])[["here", "there"]]
        known = sides.transform("count").gt(0).all(axis=1)
        unequal = ~np.isclose(both["here"], both["there"], rtol=1e-9, equal_nan=True)
        both = both[known & unequal]
        return both.assign(ratio=both["there"] / both["here"]).reset_index(drop=True)

    def changes(self, start, end, *, models=None):
        """List dated changes after `start` and up to and including `end`: rates, and modes that end.

        A rate that has no earlier value has only become known and is not a change.

        Parameters
        ----------
        start, end : str or Timestamp
            ISO dates.
        models : collection of str, optional
            Model ids; by default all.

        Returns
        -------
        DataFrame
            on, model_id, kind ("rate" or "end"), rate, context_above, before, after (USD per million tokens),
            sorted by date.
        """
        start, end = _period(start, end)
        frame, ends = self.frame, self.ends
        if models is not None:
            frame, ends = (table[table["model_id"].isin(models)] for table in (frame, ends))
        dates = frame.loc[
            frame["valid_from"].between(start, end, inclusive="right"), ["model_id", "valid_from"]
        ]
        rows = []
        for model_id, on in dates.drop_duplicates().itertuples(index=False):
            history = frame[frame["model_id"] == model_id]
            earlier = history[history["valid_from"].isna() | (history["valid_from"] < on)]
            if earlier.empty:
                continue
            since = earlier["valid_from"].fillna(SINCE_EVER)
            sides = [earlier[since == since.max()], history[history["valid_from"] == on]]
            sides = [side.set_index("context_above")[list(RATES)] for side in sides]
            steps = sorted({*sides[0].index, *sides[1].index})
            before, after = (side.reindex(steps, method="ffill").T.stack() for side in sides)
            pair = pd.DataFrame({"before": before, "after": after}).dropna()
            pair = pair[~np.isclose(pair["before"], pair["after"], rtol=1e-9)]
            pair = pair.rename_axis(["rate", "context_above"]).reset_index()
            rows.append(pair.assign(on=on, model_id=model_id, kind="rate"))
        ends = ends[ends["on"].between(start, end, inclusive="right")].assign(kind="end")
        columns = ["on", "model_id", "kind", "rate", "context_above", "before", "after"]
        parts = [part.reindex(columns=columns) for part in (*rows, ends) if len(part)]
        if not parts:
            return pd.DataFrame(columns=columns)
        parts = pd.concat([part.astype({"before": float, "after": float}) for part in parts])
        return (
            parts.astype({"context_above": "Int64"})
            .sort_values(columns[:4], kind="stable")
            .reset_index(drop=True)
        )

    def over(self, start, end):
        """Average the rates from `start` to `end`, both included, for advice about that time.

        Every day counts equally, so the cost of a workload at these rates is its mean cost over the horizon,
        including the changes that are scheduled in it.

        Parameters
        ----------
        start, end : str or Timestamp
            ISO dates.

        Returns
        -------
        Prices
            The same catalogue, seen from `start`. Rates before and after the horizon are unchanged; a rate that is
            missing on some of its days is NaN.

        Examples
        --------
        One day at 2 US dollars per million tokens and three at 4:

        >>> prices = load_prices("maintained").over("2026-11-30", "2026-12-03")
        >>> float(prices.in_force().set_index("model_id").at["gemini-4-argon", "uncached_input"])
        3.5
        """
        start, end = _period(start, end)
        frame, starts = self.frame, self.frame["valid_from"]
        inside = starts.between(start, end, inclusive="right")
        since, above = (
            starts.fillna(SINCE_EVER).to_numpy("datetime64[us]"),
            frame["context_above"].to_numpy(),
        )
        rates, flags = frame[list(RATES)].to_numpy(float), frame[list(MARKS)].to_numpy(bool)
        places, steps, means, marks = [], [], [], []
        for model_id in frame.loc[inside, "model_id"].unique():
            rows = self.rows_of[model_id]
            begins = np.unique(since[rows])
            begins = begins[
                (begins >= begins[begins <= start].max(initial=begins[0])) & (begins <= end)
            ]
            days = np.diff(
                [start, *pd.to_datetime(begins[1:]), end + pd.Timedelta(days=1)]
            ) / pd.Timedelta(days=1)
            for step in np.unique(above[rows[np.isin(since[rows], begins)]]):
                held = [rows[(since[rows] == begin) & (above[rows] <= step)] for begin in begins]
                held = [own[np.argmax(above[own])] for own in held]
                places.append(held[0])
                steps.append(step)
                means.append(days @ rates[held] / days.sum())
                marks.append(flags[held].any(axis=0))
        if not places:
            return replace(self, as_of=start)
        mean = frame.take(places).assign(valid_from=start, context_above=steps).astype(frame.dtypes)
        mean[list(RATES)], mean[list(MARKS)] = np.array(means), np.array(marks)
        gone = frame["model_id"].isin(mean["model_id"]) & starts.between(start, end)
        frame = pd.concat([frame[~gone], mean])
        place = frame["model_id"].map({name: number for number, name in enumerate(self.rows_of)})
        order = np.lexsort((frame["context_above"], frame["valid_from"].fillna(SINCE_EVER), place))
        return replace(self, frame=frame.take(order).reset_index(drop=True), as_of=start)

    def scheduled(self, models, end):
        """Put into words which rates of some models change after `as_of` and up to `end`.

        Parameters
        ----------
        models : collection of str
            Model ids.
        end : str or Timestamp
            ISO date.

        Returns
        -------
        dict of str to str
            Model id -> its changes with their dates; models without a change are left out.

        Examples
        --------
        >>> load_prices("maintained").scheduled(["gemini-4-argon", "gpt-6-luna"], "2026-12-31")
        {'gemini-4-argon': '$4.00 instead of $2.00 per million input tokens and $20.00 instead of $10.00 per million output tokens from 2026-12-01'}
        """
        table = self.changes(self.as_of, end, models=models)
        table = table[(table["kind"] == "rate") & (table["context_above"] == 0)]
        words = {}
        for (model_id, on), rows in table.groupby(["model_id", "on"]):
            main = rows[rows["rate"].isin(["uncached_input", "output"])]
            main = main.sort_values("rate", ascending=False)
            moves = [
                f"{usd(row.after)} instead of {usd(row.before)} per million"
                f" {row.rate.removeprefix('uncached_').replace('_', ' ')} tokens"
                for row in (main if len(main) else rows).itertuples()
            ]
            words.setdefault(model_id, []).append(f"{' and '.join(moves)} from {on:%Y-%m-%d}")
        return {model_id: "; ".join(said) for model_id, said in words.items()}

    def base_rates(self, models):
        """Return the rates in force of some models (in any spelling) below their first context step, in their order."""
        first = self.in_force().drop_duplicates("model_id").set_index("model_id")
        return first.loc[[self.resolve(name) for name in models]].reset_index()

    def retiring(self, by):
        """List the models that retire from `as_of` to `by`, inclusive: model_id, provider, tier, retires_on, days."""
        columns = ["model_id", "provider", "tier", "retires_on"]
        table = self.frame[columns].drop_duplicates("model_id")
        table = table[table["retires_on"].between(self.as_of, _day(by))]
        table = table.assign(days=(table["retires_on"] - self.as_of).dt.days)
        return table.sort_values("retires_on", ignore_index=True)

    def age(self):
        """Return the age of each model's prices at `as_of`: model_id, checked_on, age_days, stale (over 180 days).

        It is measured against `as_of`, never against the clock; a price checked after `as_of` has age 0.
        """
        newest = self.frame.groupby("model_id", sort=False)["checked_on"].max()
        days = (self.as_of - newest).dt.days.clip(lower=0)
        return pd.DataFrame(
            {"checked_on": newest, "age_days": days, "stale": days > STALE_AFTER_DAYS}
        ).reset_index()

    @cached_property
    def rows_of(self):
        """Model id -> positions of its rows in `frame`, oldest rates first."""
        return self.frame.groupby("model_id", sort=False).indices

    @cached_property
    def by_model(self):
        """One row per model, indexed by its id, for what all its rows share (provider, tier, dates)."""
        return self.frame.drop_duplicates("model_id").set_index("model_id")

    @cached_property
    def _ids(self):
        """Model ids that are not the maintained catalogue's own."""
        ids, source = self.frame["model_id"], self.frame["source"]
        return frozenset(ids[source.ne(maintained.version())] if self.hosted else ids)

    def _lineup_rows(self, on):
        on = _day(on, self.as_of)
        dates = self.lineups["as_of"].drop_duplicates().sort_values()
        if not (dates <= on).any():
            hint = "name the models, or give the file a column 'tier'"
            hint = f"the first is {dates.iloc[0]:%Y-%m-%d}" if len(dates) else hint
            raise ValueError(f"no lineup is known on {on:%Y-%m-%d}; {hint}")
        return self.lineups[self.lineups["as_of"] == dates[dates <= on].iloc[-1]]


def load_prices(
    source: str | Path = "maintained",
    *,
    as_of: str | pd.Timestamp | None = None,
    extra: pd.DataFrame | str | Path | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Prices:
    """Load a catalogue of prices.

    Parameters
    ----------
    source : {"article", "maintained"} or path
        The article's nine prices; the genai-prices package with data/overlay.csv; or your own CSV or Parquet
        file with at least model_id, provider, uncached_input and output (USD per million tokens).
    as_of : str, optional
        ISO date from which the catalogue is seen; by default the day on which it was checked.
    extra : DataFrame or path, optional
        Your own rows, such as negotiated rates or those of `self_hosted`. They replace the catalogue's rows of the
        same model, platform, region and service tier.
    aliases : mapping, optional
        Your own names: ``{"prod-chat": "azure/gpt-5"}``, or with a mapping of model, platform, region and tier as
        the value, as in ``tierlab.load_contract(path).aliases``.

    Returns
    -------
    Prices

    Raises
    ------
    ValueError
        If the source is unknown, or a file has no rows, a missing or misspelt column, a price that is negative
        or not a number, a model that its provider does not have, or two rows for the same model, date and
        context step. The message names the file, the row and the column.

    Examples
    --------
    >>> load_prices("article").lineup().loc["anthropic", "flagship"]
    'claude-opus-4-8'
    """
    lineups, hosted = known_lineups(), source == "maintained"
    ends = pd.DataFrame(columns=["on", "model_id", "rate"]).astype({"on": "datetime64[us]"})
    if hosted:
        frame, ends, version = maintained.read()
    elif source == "article":
        frame, version = read_table(DATA / "prices_article.csv"), "article"
    elif isinstance(source, str) and not Path(source).suffix:
        raise ValueError(
            unknown("catalogue", source, ["article", "maintained"])
            + " (or a path to a .csv or .parquet file)"
        )
    else:
        frame, version = read_table(source), Path(source).name
        lineups = _own_lineups(frame, lineups)
    if extra is not None:
        more = read_table(extra)
        known = pd.MultiIndex.from_frame(frame[KEY])
        kept = frame[~known.isin(pd.MultiIndex.from_frame(more[KEY]))]
        frame = pd.concat([kept, more], ignore_index=True).astype(frame.dtypes)
    default = (
        frame["platform"].eq(frame["provider"])
        & frame["region"].eq("")
        & frame["service_tier"].eq("standard")
    )
    frame, beside = frame[default].reset_index(drop=True), frame[~default].reset_index(drop=True)
    tier = known_lineups().drop_duplicates("model_id", keep="last").set_index("model_id")
    frame["tier"] = (
        frame["tier"]
        .astype(object)
        .where(frame["tier"].notna(), frame["model_id"].map(tier["tier"]))
    )
    frame["reasoning_model"] |= frame["model_id"].map(tier["reasoning_model"]).eq(True)
    checked = pd.concat([frame["checked_on"], beside["checked_on"]]).max()
    if as_of is None and pd.isna(checked):
        raise ValueError(
            f"{source}: no row has a checked_on date, so give the day with as_of='YYYY-MM-DD'"
        )
    source = version if pd.isna(checked) else f"{version}, checked {checked:%Y-%m-%d}"
    known = Prices(frame, _day(as_of, checked), source, lineups, ends, {}, beside, hosted)
    return replace(known, aliases={name: known.named(one) for name, one in (aliases or {}).items()})


def _own_lineups(frame, lineups):
    """Return a file's own lineup where it has one model for each tier, else the known lineups of its models."""
    named = frame[frame["tier"].notna() & ~frame["reasoning_model"]].drop_duplicates("model_id")
    if named.empty or named.duplicated(["provider", "tier"]).any():
        return lineups[lineups["model_id"].isin(frame["model_id"])]
    own = frame[["provider", "tier", "model_id", "reasoning_model"]].drop_duplicates("model_id")
    first = frame["valid_from"].min()
    own = own.assign(
        as_of=SINCE_EVER if pd.isna(first) else first,
        tier=own["tier"].where(~own["reasoning_model"]),
    )
    return own[own["tier"].notna() | own["reasoning_model"]]


def _period(start, end):
    start, end = _day(start), _day(end)
    if end < start:
        raise ValueError(f"the end {end:%Y-%m-%d} lies before the start {start:%Y-%m-%d}")
    return start, end


def _day(value, default=None):
    return iso_day(default if value is None else value)
