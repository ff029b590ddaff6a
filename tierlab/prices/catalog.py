"""Prices on a date: catalogues, lineups, model names, changes and age.

A catalogue is one table (`Prices.frame`): a row is one model's rates from a date on, above a context length,
in USD per million tokens. Two come with the kit: "article" (the lineup of 2026-06-12 as the article states it)
and "maintained" (the genai-prices package, with its gaps filled from data/overlay.csv, each fact with its
source). A path to a CSV or Parquet file of the same columns is a third.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.format import usd
from tierlab.core.paths import DATA
from tierlab.core.untrusted import regular, unguarded
from tierlab.core.vocabulary import RATES, TIERS, unknown
from tierlab.prices import maintained
from tierlab.prices.names import (
    COLUMNS,
    DATES,
    PROVIDERS,
    Resolved,
    known_models,
    platform_of,
    resolved,
    sold_as,
)
from tierlab.prices.names import lineups as known_lineups

STALE_AFTER_DAYS = 180
SINCE_EVER = pd.Timestamp("1700-01-01")  # stands for an unknown first date of a rate
_KEY = ["model_id", "platform", "region", "service_tier"]
_REQUIRED = ("model_id", "provider", "uncached_input", "output")
_COUNTS = ("context_above", "context_window", "max_output_tokens")
_FLAGS = ("reasoning_model", "approximate", "batch_assumed", "write_assumed")


@dataclass(frozen=True, eq=False, repr=False)
class Prices:
    """A catalogue of prices, seen from one day.

    Attributes
    ----------
    frame : DataFrame
        The prices table, full history: one row per model, date from which the rates hold, and context length
        above which they hold. Rates in USD per million tokens; NaN is a rate the catalogue does not have.
    as_of : Timestamp
        The day on which one stands.
    source : str
        Name and version of the catalogue and the day on which it was checked.
    lineups : DataFrame
        Which model stands for which tier from which date on.
    ends : DataFrame
        Dated ends that are not rates (a mode of a model that is withdrawn).
    aliases : dict of str to Resolved
        Names of one's own (a deployment) for a model, and where it is bought.
    beside : DataFrame, optional
        Rates of one's own for other sellers, regions or tiers.
    hosted : bool
        Whether the rates of all other sellers, regions and tiers of genai-prices stand beside `frame`.
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
        """Rows that hold on a day: one per model and context step.

        Before a model's first known rate its first rate is returned; `tierlab.price` flags such rows.

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
        """All rates of one model that hold on a day: one row per seller, region, service tier and context step.

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
        keys = [frame[column] for column in _KEY]
        newest = held.groupby(keys).transform("max")
        newest = newest.fillna(start.groupby(keys).transform("min"))
        return frame[start == newest].reset_index(drop=True)

    def lineup(self, on=None):
        """Which model stands for which tier: a provider x tier table of model ids.

        Raises
        ------
        ValueError
            If the day lies before the first known lineup.
        """
        if on is None:
            return self._lineup_now.copy()
        table = (
            self._lineup_rows(on)
            .dropna(subset="tier")
            .pivot(index="provider", columns="tier", values="model_id")
        )
        return table.reindex(columns=list(TIERS)).reindex(
            [p for p in self._providers() if p in table.index]
        )

    @cached_property
    def _lineup_now(self):
        return self.lineup(self.as_of)

    def models(self, on=None, *, reasoning=False):
        """Model ids of the lineup, by provider and tier; with the reasoning models beside it if asked for."""
        names = self.lineup(on).stack().dropna().tolist()
        rows = self._lineup_rows(on)
        return names + (rows.loc[rows["tier"].isna(), "model_id"].tolist() if reasoning else [])

    def resolve(self, name):
        """Canonical model id for any usual spelling of a name.

        Provider prefixes (``openai/``, ``models/``), display names, dated snapshots, Bedrock and Vertex
        spellings resolve. A dated snapshot resolves only where the maintained catalogue says that it has the
        same price.

        Raises
        ------
        ValueError
            If the name is unknown, or known but without a price in this catalogue; names the nearest.

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
        """What a spelling names (`tierlab.prices.names.Resolved`): an own id or alias first, then the catalogue's."""
        if name in self.rows_of:
            return Resolved(name)
        return self.aliases.get(name) or resolved(str(name), self._ids)

    def named(self, given):
        """What an alias stands for: a model in any spelling, or a mapping of model, platform, region and tier."""
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
        """Why a name has no price here, in words."""
        if model_id in self.sellers:
            sold = ", ".join(sorted(self.sellers[model_id]))
            return f"model {name!r} ({model_id}) is not sold by its maker in {self.source}; others sell it: {sold}"
        if model_id is not None:
            return f"model {name!r} ({model_id}) has no price in {self.source}"
        return unknown("model", name, sorted({*self.rows_of, *self.aliases}))

    @cached_property
    def rates(self):
        """The prices table of all sellers, regions and service tiers: `frame` first, then what others sell."""
        rates = self.frame
        for more in (self.beside, maintained.others() if self.hosted else None):
            if more is not None:
                known = pd.MultiIndex.from_frame(rates[_KEY])
                more = more[~pd.MultiIndex.from_frame(more[_KEY]).isin(known)]
                rates = pd.concat([rates, more], ignore_index=True)
        return rates

    @cached_property
    def sellers(self):
        """Model id -> platform -> (region, service tier) -> positions of its rows in `rates`."""
        found = {}
        for (model_id, platform, region, tier), rows in self.rates.groupby(
            _KEY, sort=False
        ).indices.items():
            places = found.setdefault(model_id, {}).setdefault(platform, {})
            places[(region, tier)] = tuple(rows.tolist())
        return found

    def maker(self, sellers):
        """Whose model the sellers of one model sell."""
        rows = next(iter(next(iter(sellers.values())).values()))
        return self.rates["provider"].iat[rows[0]]

    def listed_as(self, spelling, platform, model_id):
        """The id under which a platform sells what a spelling names: its own listing, where it has one."""
        own = sold_as().get((platform, str(spelling).lower())) if self.hosted and platform else None
        return own if own in self.sellers else model_id

    def diff(self, other):
        """Rates in force that differ between this catalogue and another, for the models both have.

        Returns
        -------
        DataFrame
            model_id, context_above, rate, here, there (USD per million tokens), ratio = there / here.
            A context step that only one of them has shows with NaN on the other side.
        """
        key = ["model_id", "context_above"]
        left, right = (
            p.in_force()[[*key, *RATES]].melt(key, var_name="rate", value_name=side)
            for p, side in ((self, "here"), (other, "there"))
        )
        both = left.merge(right, on=[*key, "rate"], how="outer")
        common = set(self.frame["model_id"]) & set(other.frame["model_id"])
        known = (
            both.groupby(["model_id", "rate"])[["here", "there"]]
            .transform("count")
            .gt(0)
            .all(axis=1)
        )
        unequal = ~np.isclose(both["here"], both["there"], rtol=1e-9, equal_nan=True)
        both = both[both["model_id"].isin(common) & known & unequal]
        return both.assign(ratio=both["there"] / both["here"]).reset_index(drop=True)

    def changes(self, start, end):
        """Dated changes after `start` and up to and including `end`: rates, and modes that end.

        A rate that only became known (no earlier value) is not a change.

        Returns
        -------
        DataFrame
            on, model_id, kind ("rate" or "end"), rate, context_above, before, after (USD per million tokens),
            sorted by date.
        """
        start, end = _day(start), _day(end)
        if end < start:
            raise ValueError(f"the end {end:%Y-%m-%d} lies before the start {start:%Y-%m-%d}")
        dates = self.frame.loc[
            self.frame["valid_from"].between(start, end, inclusive="right"),
            ["model_id", "valid_from"],
        ]
        rows = []
        for model_id, on in dates.drop_duplicates().itertuples(index=False):
            history = self.frame[self.frame["model_id"] == model_id]
            earlier = history[history["valid_from"].isna() | (history["valid_from"] < on)]
            if earlier.empty:
                continue
            since = earlier["valid_from"].fillna(SINCE_EVER)
            before = earlier[since == since.max()]
            steps = sorted(
                {
                    *before["context_above"],
                    *history.loc[history["valid_from"] == on, "context_above"],
                }
            )
            pair = [
                t.set_index("context_above")[list(RATES)].reindex(steps, method="ffill").T.stack()
                for t in (before, history[history["valid_from"] == on])
            ]
            pair = pd.DataFrame({"before": pair[0], "after": pair[1]}).dropna()
            pair = pair[~np.isclose(pair["before"], pair["after"], rtol=1e-9)].rename_axis(
                ["rate", "context_above"]
            )
            rows.append(pair.reset_index().assign(on=on, model_id=model_id, kind="rate"))
        ends = self.ends[self.ends["on"].between(start, end, inclusive="right")].assign(kind="end")
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
        """The same catalogue with mean rates from `start` to `end`, both included, for advice about that time.

        Every day counts alike, so what a workload costs at these rates is its mean cost over the horizon, changes
        that are scheduled in it included.

        Returns
        -------
        Prices
            Seen from `start`. Rates before and after the horizon stay as they are; one that is missing on some of
            its days is NaN.

        Examples
        --------
        One day at 2 US dollars per million tokens and three at 4:

        >>> prices = load_prices("maintained").over("2026-11-30", "2026-12-03")
        >>> float(prices.in_force().set_index("model_id").at["gemini-4-argon", "uncached_input"])
        3.5
        """
        start, end = _day(start), _day(end)
        if end < start:
            raise ValueError(f"the end {end:%Y-%m-%d} lies before the start {start:%Y-%m-%d}")
        frame, starts = self.frame, self.frame["valid_from"]
        inside = starts.between(start, end, inclusive="right")
        since, above = (
            starts.fillna(SINCE_EVER).to_numpy("datetime64[us]"),
            frame["context_above"].to_numpy(),
        )
        rates, flags = frame[list(RATES)].to_numpy(float), frame[list(_FLAGS)].to_numpy(bool)
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
        mean[list(RATES)], mean[list(_FLAGS)] = np.array(means), np.array(marks)
        gone = frame["model_id"].isin(mean["model_id"]) & starts.between(start, end)
        frame = pd.concat([frame[~gone], mean])
        place = frame["model_id"].map({name: number for number, name in enumerate(self.rows_of)})
        order = np.lexsort((frame["context_above"], frame["valid_from"].fillna(SINCE_EVER), place))
        return replace(self, frame=frame.take(order).reset_index(drop=True), as_of=start)

    def scheduled(self, models, end):
        """Rates of some models that change after `as_of` and up to `end`, in words.

        Returns
        -------
        dict of str to str
            Model id -> which rate moves from what to what on which day; a model without a change is not there.

        Examples
        --------
        >>> load_prices("maintained").scheduled(["gemini-4-argon", "gpt-6-luna"], "2026-12-31")
        {'gemini-4-argon': '$4.00 instead of $2.00 per million input tokens and $20.00 instead of $10.00 per million output tokens from 2026-12-01'}
        """
        table = replace(self, frame=self.frame[self.frame["model_id"].isin(models)]).changes(
            self.as_of, end
        )
        table = table[(table["kind"] == "rate") & (table["context_above"] == 0)]
        words = {}
        for (model_id, on), rows in table.groupby(["model_id", "on"]):
            main = rows[rows["rate"].isin(["uncached_input", "output"])].sort_values(
                "rate", ascending=False
            )
            moves = [
                f"{usd(row.after)} instead of {usd(row.before)} per million {row.rate.removeprefix('uncached_').replace('_', ' ')} tokens"
                for row in (main if len(main) else rows).itertuples()
            ]
            words.setdefault(model_id, []).append(f"{' and '.join(moves)} from {on:%Y-%m-%d}")
        return {model_id: "; ".join(said) for model_id, said in words.items()}

    def retiring(self, by):
        """Models that retire from `as_of` up to and including the day `by`: model_id, provider, tier, retires_on, days."""
        table = self.frame[["model_id", "provider", "tier", "retires_on"]].drop_duplicates(
            "model_id"
        )
        table = table[table["retires_on"].between(self.as_of, _day(by))]
        return (
            table.assign(days=(table["retires_on"] - self.as_of).dt.days)
            .sort_values("retires_on")
            .reset_index(drop=True)
        )

    def age(self):
        """Age of each model's prices at `as_of`: model_id, checked_on, age_days, stale (over 180 days).

        Measured against `as_of`, never against the clock; a price checked after `as_of` has age 0.
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
        """One row per model, by its id: of use for what all its rows share (provider, tier, dates)."""
        return self.frame.drop_duplicates("model_id").set_index("model_id")

    @cached_property
    def _ids(self):
        """Ids that no spelling of the maintained catalogue leads to."""
        ours = (
            self.frame["model_id"][self.frame["source"].ne(maintained.version())]
            if self.hosted
            else self.frame["model_id"]
        )
        return frozenset(ours)

    def _providers(self):
        return list(dict.fromkeys([*PROVIDERS, *self.frame["provider"]]))

    def _lineup_rows(self, on):
        on = _day(on, self.as_of)
        dates = self.lineups["as_of"].drop_duplicates().sort_values()
        if not (dates <= on).any():
            first = (
                f"the first is {dates.iloc[0]:%Y-%m-%d}"
                if len(dates)
                else "name the models, or give the file a column 'tier'"
            )
            raise ValueError(f"no lineup is known on {on:%Y-%m-%d}; {first}")
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
        ISO date on which one stands; by default the day on which the catalogue was checked.
    extra : DataFrame or path, optional
        Rows of your own on top of the catalogue (those of a model, platform, region and service tier replace
        the catalogue's): what you negotiated, or `self_hosted`.
    aliases : mapping, optional
        Names of your own: ``{"prod-chat": "azure/gpt-5"}``, or a mapping of model, platform, region and tier as
        ``tierlab.load_contract(path).aliases`` has them.

    Returns
    -------
    Prices

    Raises
    ------
    ValueError
        If the source is unknown or a file has no rows, a missing or misspelt column, a price that is negative
        or no number, a model that its provider does not have, or two rows for the same model, date and
        context step; the message names file, row and column.

    Examples
    --------
    >>> load_prices("article").lineup().loc["anthropic", "flagship"]
    'claude-opus-4-8'
    """
    lineups, ends = (
        known_lineups(),
        pd.DataFrame(columns=["on", "model_id", "rate"]).astype({"on": "datetime64[us]"}),
    )
    hosted = False
    if source == "maintained":
        frame, ends, version = maintained.read()
        hosted = True
    elif source == "article":
        frame, version = (
            _checked(_read(DATA / "prices_article.csv"), DATA / "prices_article.csv"),
            "article",
        )
    elif isinstance(source, str) and not Path(source).suffix:
        raise ValueError(
            unknown("catalogue", source, ["article", "maintained"])
            + " (or a path to a .csv or .parquet file)"
        )
    else:
        frame, version = _checked(_read(Path(source)), Path(source)), Path(source).name
        named = frame[frame["tier"].notna() & ~frame["reasoning_model"]].drop_duplicates("model_id")
        if len(named) and not named.duplicated(["provider", "tier"]).any():
            first = frame["valid_from"].min()
            own = frame[["provider", "tier", "model_id", "reasoning_model"]].drop_duplicates(
                "model_id"
            )
            lineups = own.assign(
                as_of=SINCE_EVER if pd.isna(first) else first,
                tier=own["tier"].where(~own["reasoning_model"]),
            )
            lineups = lineups[lineups["tier"].notna() | lineups["reasoning_model"]]
        else:
            lineups = lineups[lineups["model_id"].isin(frame["model_id"])]
    if extra is not None:
        more = (
            _checked(extra, Path("extra"))
            if isinstance(extra, pd.DataFrame)
            else _checked(_read(Path(extra)), Path(extra))
        )
        frame = pd.concat([frame, more], ignore_index=True).astype(frame.dtypes)
        later = pd.MultiIndex.from_frame(frame[_KEY]).isin(pd.MultiIndex.from_frame(more[_KEY]))
        frame = frame[~later | (frame.index >= len(frame) - len(more))]
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
            f"{source}: no row has a checked_on date, so say on which day you stand: as_of='YYYY-MM-DD'"
        )
    source = version if pd.isna(checked) else f"{version}, checked {checked:%Y-%m-%d}"
    known = Prices(frame, _day(as_of, checked), source, lineups, ends, {}, beside, hosted)
    return replace(known, aliases={name: known.named(one) for name, one in (aliases or {}).items()})


def _day(value, default=None):
    if value is None:
        value = default
    try:
        day = pd.Timestamp(value)
        if day.tzinfo is not None:
            day = day.tz_convert("UTC").tz_localize(None)
        return day.normalize()
    except (ValueError, TypeError):
        raise ValueError(f"{value!r} is not a date; write it as 'YYYY-MM-DD'") from None


def _read(path):
    try:
        if regular(path).suffix == ".parquet":
            return pd.read_parquet(path)
        return unguarded(pd.read_csv(path, dtype=str, skip_blank_lines=False))
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as a prices table ({error})") from error


def _checked(raw, path):
    """The prices table from a file's raw columns, or an error that names file, row and column."""
    first_line = 1 if path.suffix == ".parquet" else 2

    def refuse(bad, column, why):
        if bad.any():
            row = int(np.flatnonzero(bad.to_numpy())[0])
            raise ValueError(
                f"{path}, row {row + first_line}, column {column!r}: {why.format(raw[column].iloc[row])}"
            )

    for column in raw.columns.difference([*COLUMNS, "name", "note"]):
        raise ValueError(f"{path}: {unknown('column', column, COLUMNS)}")
    for column in _REQUIRED:
        if column not in raw:
            raise ValueError(
                f"{path}: column {column!r} is missing; a prices table needs {', '.join(_REQUIRED)}"
            )
        if column != "output":  # embeddings have none
            refuse(raw[column].isna(), column, "empty; every row needs a value")
    if raw.empty:
        raise ValueError(
            f"{path}: no row below the header; a prices table needs at least one model"
        )
    usual = raw["provider"].str.strip().str.lower()
    refuse(
        usual.isin(PROVIDERS) & (raw["provider"] != usual),
        "provider",
        "{!r}; write it as one of " + ", ".join(PROVIDERS),
    )
    frame = raw.reindex(columns=list(COLUMNS))
    for column in (*RATES, *_COUNTS):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float)
        if column in raw:
            refuse(frame[column].isna() & raw[column].notna(), column, "{!r} is not a number")
            refuse(
                frame[column].lt(0) | np.isinf(frame[column]),
                column,
                "{} is not a number from 0 up",
            )
    for column in DATES:
        frame[column] = pd.to_datetime(frame[column], errors="coerce", format="ISO8601").astype(
            "datetime64[us]"
        )
        if column in raw:
            refuse(frame[column].isna() & raw[column].notna(), column, "{!r} is not an ISO date")
    for column in _FLAGS:
        text = (
            frame[column]
            .astype(object)
            .where(frame[column].notna(), "false")
            .astype(str)
            .str.lower()
        )
        if column in raw:
            refuse(~text.isin(["true", "false"]), column, "{!r} is neither true nor false")
        frame[column] = text == "true"
    if "tier" in raw:
        refuse(
            raw["tier"].notna() & ~raw["tier"].isin(TIERS),
            "tier",
            "unknown tier {!r}; one of " + ", ".join(TIERS),
        )
    frame["context_above"] = frame["context_above"].fillna(0).astype("int64")
    frame["platform"] = frame["platform"].where(frame["platform"].notna(), frame["provider"])
    frame["region"] = frame["region"].astype(object).where(frame["region"].notna(), "")
    tiers = frame["service_tier"].astype(object)
    frame["service_tier"] = tiers.where(frame["service_tier"].notna(), "standard")
    frame["source"] = frame["source"].astype(object).where(frame["source"].notna(), path.name)
    for provider in PROVIDERS:
        ours = (frame["provider"] == provider) & frame["launched_on"].isna()
        strange = ours & ~frame["model_id"].isin(known_models())
        if strange.any():
            row = int(np.flatnonzero(strange)[0])
            raise ValueError(
                f"{path}, row {row + first_line}, column 'model_id': {unknown('model', frame['model_id'].iloc[row], known_models())}"
                " (a model that the maintained catalogue does not know yet needs its launched_on)"
            )
    twice = frame.duplicated([*_KEY, "valid_from", "context_above"])
    refuse(twice, "model_id", "a second row for {!r} with the same date and context step")
    return frame.sort_values(
        ["provider", "model_id", "valid_from", "context_above"], na_position="first"
    ).reset_index(drop=True)
