"""Controls: sliders on the figures of `tierlab.plots`.

An Explorer computes a table from its controls' values, draws it with a function of `plots` and shows the numbers
beside it. It redraws into value widgets (Image, HTML), which notebooks can store and nbval can compare. Nothing in
a notebook may depend on a control's value.
"""

import html
import io

import ipywidgets
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import tierlab as tl
from tierlab import plots
from tierlab.style import STYLE_FILE, usd

_NICE = [factor * 10**power for power in range(1, 9) for factor in (1, 2, 5)]
_HOUSE_STYLE = mpl.rc_params_from_file(STYLE_FILE, use_default_template=False) | {"figure.constrained_layout.use": False}
_WIDE = {"style": {"description_width": "14em"}, "layout": {"width": "34em"}}
_ALL = "all"
_MISSES = {
    "plain input": "uncached_input_tokens",
    "written for 5 minutes": "cache_write_5m_tokens",
    "written for 1 hour": "cache_write_1h_tokens",
}
_TOP = {"requests_per_day": 2_000_000, "input_tokens": 5_000, "output_tokens": 2_000, "cache_hit_rate": 1.0, "batch_share": 1.0}


class Explorer:
    """A figure and its table, redrawn when a control changes.

    A subclass passes its controls to `__init__` by name and says four things about their values: `table(**values)`,
    the numbers; `draw(ax, table, **values)`, the figure; `words(table, **values)`, what it shows in one sentence;
    `numbers(table, **values)`, the table as it is shown, headings with units.

    Notes
    -----
    The figure is drawn on one canvas with fixed margins: sliders must not make the frame jump, and a layout engine
    would take half the time of a redraw.
    """

    size = (7.2, 3.6)  # inches
    margins = (2.1, 1.1, 0.65, 0.35)  # left, right, bottom, top; inches
    _moving = False  # while one control sets another, so that one move draws once

    def __init__(self, **controls):
        self.controls = controls
        self.image = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.text = ipywidgets.HTML()
        self._figure = Figure(self.size, dpi=85, layout="none")  # the axes have a fixed box
        FigureCanvasAgg(self._figure)
        both = ipywidgets.Box([self.image, self.text], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        self.box = ipywidgets.VBox([*controls.values(), both])
        for control in controls.values():
            control.observe(self._changed, names="value")
        self.redraw()

    def values(self):
        """What the controls say now."""
        return {name: control.value for name, control in self.controls.items()}

    def _changed(self, _change):
        if not self._moving:
            self.redraw()

    def redraw(self):
        """Compute, draw and write; an error is shown in place of the figure, never an old figure beside new settings."""
        try:
            values = self.values()
            table = self.table(**values)
            self.summary = self.words(table, **values)
            picture, self.text.value = self._picture(table, values) if len(table) else b"", self._html(table, values)
        except Exception as error:
            self.summary = f"{type(error).__name__}: {error}"
            picture = b""
            self.text.value = f'<p role="alert"><strong>{html.escape(self.summary)}</strong></p>'
        self.image.tooltip = self.summary
        self.image.value, self.image.layout.display = picture, None if picture else "none"

    def _picture(self, table, values):
        width, height = self.size
        left, right, bottom, top = self.margins
        with mpl.rc_context(_HOUSE_STYLE):
            self._figure.clear()
            box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
            self.draw(self._figure.add_axes(box), table, **values)
            buffer = io.BytesIO()
            # A quick compression: the picture crosses to the browser once and is then thrown away.
            self._figure.savefig(buffer, format="png", dpi="figure", pil_kwargs={"compress_level": 1})
        return buffer.getvalue()

    def _html(self, table, values):
        numbers = self.numbers(table, **values).rename_axis(columns=None)  # a name would become an empty column
        with pd.option_context("display.max_colwidth", None):  # otherwise long text ends in dots
            body = numbers.to_html(index=False, border=0, na_rep="no figure", float_format=lambda value: f"{value:,.2f}")
        return f'<div role="status"><p>{html.escape(self.summary)}</p>{body}</div>'

    def show(self):
        """Display the control."""
        from IPython.display import display

        display(self)

    def __repr__(self):
        parts = (f"{control.description} {_spoken(control)}" for control in self.controls.values())
        return f"{type(self).__name__} ({'; '.join(parts)})\n{self.summary}"

    def _repr_mimebundle_(self, **_):
        # The box's own text form holds the bytes of the picture; ours is what nbval compares.
        return self.box._repr_mimebundle_() | {"text/plain": repr(self)}


class TierExplorer(Explorer):
    """What the three tiers of one provider cost per day.

    Parameters
    ----------
    prices : Prices
    provider : str, optional
        By default the first of the lineup.
    requests_per_day, input_tokens, output_tokens : int
        Where the controls start.
    """

    size, margins = (7.2, 2.1), (2.3, 2.2, 0.65, 0.1)

    def __init__(self, prices, *, provider=None, requests_per_day=1_000_000, input_tokens=500, output_tokens=300):
        self.prices = prices
        self._lineup = prices.lineup()
        providers = list(self._lineup.index)
        super().__init__(
            provider=_choice("provider", providers, provider or providers[0]),
            requests_per_day=nice_slider("requests per day", requests_per_day),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=100_000),
            output_tokens=nice_slider("output tokens per request", output_tokens, high=20_000),
        )

    def table(self, *, provider, **shape):
        models = self._lineup.loc[provider].dropna().tolist()
        return plots.in_order(tl.daily_cost(tl.Workload(**shape), self.prices, models))

    def draw(self, ax, table, **_):
        plots.cost_bars(table, ax=ax)

    def words(self, table, **_):
        costs = "; ".join(f"{row.tier} {_usd_or_not(row.cost_usd)}" for row in table.itertuples())
        return f"Cost per day at the prices of {self.prices.source}: {costs}."

    def numbers(self, table, **_):
        return table[["tier", "model_id", "cost_usd"]].set_axis(["tier", "model", "cost (USD per day)"], axis=1)


class CostExplorer(Explorer):
    """What a day of one kind of request costs on each model of the lineup, by bucket.

    Parameters
    ----------
    catalogues : mapping of str to Prices
        Price sources to choose from.
    requests_per_day, input_tokens, output_tokens : int
        Where the controls start.
    """

    size, margins = (7.2, 3.6), (2.3, 0.9, 0.5, 0.3)

    def __init__(self, catalogues, *, requests_per_day=1_000_000, input_tokens=500, output_tokens=300):
        self.catalogues = dict(catalogues)
        super().__init__(
            catalogue=_choice("prices", list(self.catalogues)),
            requests_per_day=nice_slider("requests per day", requests_per_day),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=100_000),
            output_tokens=nice_slider("output tokens per request", output_tokens, high=20_000),
            cache_hit_rate=share_slider("cache hit rate (% of input tokens)"),
            misses=_choice("input outside the cache is", list(_MISSES)),
            batch_share=share_slider("batch share (% of requests)"),
        )

    def table(self, *, catalogue, requests_per_day, input_tokens, output_tokens, cache_hit_rate, misses, batch_share):
        prices = self.catalogues[catalogue]
        lineup = prices.lineup().stack().dropna().rename("model_id").reset_index()
        cached = round(input_tokens * cache_hit_rate)
        one = lineup.assign(cache_read_tokens=cached, output_tokens=output_tokens, uncached_input_tokens=0)
        one[_MISSES[misses]] = input_tokens - cached
        table = _priced(one, prices)
        parts = [*plots.COST_PARTS, "cost_usd"]
        if batch_share:
            batch = _priced(one.assign(batch=True), prices)
            table[parts] = table[parts] * (1 - batch_share) + batch[parts] * batch_share
            table["flags"] = batch["flags"]  # what is assumed of a batch rate includes what is assumed of the model
        table[parts] *= requests_per_day
        return plots.in_order(lineup.join(table))

    def draw(self, ax, table, **_):
        plots.cost_by_bucket(table, ax=ax)

    def words(self, table, *, catalogue, **_):
        priced = table[table["cost_usd"].notna()].sort_values("cost_usd", kind="stable")
        ends = [f"{usd(row.cost_usd)} ({row.model_id})" for row in priced.iloc[[0, -1]].itertuples()] if len(priced) else []
        text = f"Cost per day at the prices of {self.catalogues[catalogue].source}: {' to '.join(ends) or 'no model has a figure'}."
        gaps = len(table) - len(priced)
        return text + (f" {gaps} of {len(table)} models without a figure, see the table." if gaps else "")

    def numbers(self, table, **_):
        shown = table[["model_id", "cost_usd", *plots.COST_PARTS, "flags"]]
        parts = [f"{part.removesuffix('_usd').replace('_', ' ')}" for part in plots.COST_PARTS]
        return shown.set_axis(["model", "cost (USD per day)", *parts, "assumed, or why there is no figure"], axis=1)


class CurveExplorer(Explorer):
    """Cost per day over one variable of a workload, for any models.

    Parameters
    ----------
    prices : Prices
    models : sequence of str, optional
        Models to choose from; by default the lineup. The first three are chosen at the start.
    requests_per_day, input_tokens, output_tokens : int
        The workload where the variable is another one.
    """

    size, margins = (7.2, 3.6), (1.0, 1.9, 0.65, 0.35)

    def __init__(self, prices, *, models=None, requests_per_day=1_000_000, input_tokens=500, output_tokens=300):
        self.prices = prices
        self.workload = {"requests_per_day": requests_per_day, "input_tokens": input_tokens, "output_tokens": output_tokens}
        names = list(models or prices.models())
        over = ipywidgets.Dropdown(description="over", options=[(plots.OVER_LABELS[name], name) for name in _TOP], **_WIDE)
        top = ipywidgets.SelectionSlider(description="up to", options=self._tops(over.value), continuous_update=False, **_WIDE)
        top.value = _TOP[over.value]

        def retune(change):
            self._moving = True
            top.options = self._tops(change["new"])
            top.value = _TOP[change["new"]]
            self._moving = False

        over.observe(retune, names="value")  # registered before the redraw, so that it never sees the old range
        chosen = ipywidgets.SelectMultiple(
            description="models", options=names, value=names[:3], rows=min(9, len(names)), **_WIDE
        )
        super().__init__(over=over, top=top, models=chosen)

    @staticmethod
    def _tops(over):
        if over.endswith(("_rate", "_share")):
            return [(f"{percent}%", percent / 100) for percent in range(10, 101, 10)]
        return [(f"{top:,}", top) for top in _NICE if top >= 100]

    def table(self, *, over, top, models):
        if not models:
            raise ValueError("no model is chosen")
        grid = np.linspace(0, top, 13)
        if not over.endswith(("_rate", "_share")):
            grid = np.unique(
                np.r_[1, grid[1:].round(), self._cliffs(models, top) if over == "input_tokens" else []].astype(int)
            )
        return tl.cost_curve(tl.Workload(**self.workload), self.prices, list(models), over=over, values=list(grid))

    def _cliffs(self, models, top):
        """Both sides of each context step and window: a cliff must not look like a slope."""
        rows = self.prices.in_force()
        rows = rows[rows["model_id"].isin(models)]
        edges = pd.concat([rows["context_above"], rows["context_window"]]).astype(float).dropna().unique()
        edges = np.r_[edges, edges + 1]
        return edges[(edges >= 1) & (edges <= top)]

    def draw(self, ax, table, *, over, **_):
        plots.cost_curve(table, over=over, ax=ax)

    def words(self, table, *, over, **_):
        last = table[table[over] == table[over].max()]
        costs = "; ".join(f"{row.model_id} {_usd_or_not(row.cost_usd)}" for row in last.itertuples())
        return f"At {plots.OVER_LABELS[over]} {_plain(table[over].max(), over)}, cost per day: {costs}. Prices: {self.prices.source}."

    def numbers(self, table, *, over, **_):
        wide = table.pivot(index=over, columns="model_id", values="cost_usd")[list(dict.fromkeys(table["model_id"]))]
        wide = wide.iloc[np.unique(np.linspace(0, len(wide) - 1, 6).round().astype(int))]
        wide.insert(0, plots.OVER_LABELS[over], [_plain(value, over) for value in wide.index])
        return wide.rename(columns={model: f"{model} (USD per day)" for model in wide.columns[1:]})


class ClaimExplorer(Explorer):
    """The article's claims with their verdicts, by section and verdict.

    Parameters
    ----------
    claims : DataFrame
        Table of `tierlab.evaluate_claims`.
    """

    size, margins = (7.2, 3.6), (2.1, 0.2, 0.5, 0.35)

    def __init__(self, claims):
        self.claims = claims
        super().__init__(
            section=_choice("section", [_ALL, *claims["section"].drop_duplicates()]),
            verdict=_choice("verdict", [_ALL, *claims["verdict"].drop_duplicates()]),
        )

    def table(self, *, section, verdict):
        keep = ((self.claims["section"] == section) | (section == _ALL)) & (
            (self.claims["verdict"] == verdict) | (verdict == _ALL)
        )
        return self.claims[keep].reset_index()

    def draw(self, ax, table, **_):
        plots.verdicts(table, ax=ax)

    def words(self, table, **_):
        counts = table["verdict"].value_counts(sort=False)
        return (
            f"{len(table)} of {len(self.claims)} claims: "
            + (", ".join(f"{n} {name}" for name, n in counts.items()) or "none")
            + "."
        )

    def numbers(self, table, **_):
        return table[["id", "claim", "computed", "bounds", "verdict", "why"]]


def _priced(requests, prices):
    """Price each row; where a rate is missing the row says which, so that the other models are still shown."""
    prefix = "batch_" if "batch" in requests else ""
    used = [bucket for bucket in tl.BUCKETS if requests.get(f"{bucket}_tokens", pd.Series([0])).gt(0).any()]
    rates = prices.in_force().drop_duplicates("model_id").set_index("model_id").reindex(requests["model_id"])
    lacking = rates[[f"{prefix}{bucket}" for bucket in used]].isna().to_numpy()
    known = ~lacking.any(axis=1)
    table = tl.price(requests[known], prices).astype({"flags": object}).reindex(requests.index)
    for row in np.flatnonzero(~known):
        names = ", ".join(used[i].replace("_", " ") for i in np.flatnonzero(lacking[row]))
        table.loc[requests.index[row], "flags"] = f"no {prefix.replace('_', ' ')}rate for {names}"
    return table


def nice_slider(label, value, *, low=10, high=100_000_000):
    """A slider over 1, 2, 5, 10, 20, ... and the value it starts at."""
    steps = sorted({step for step in _NICE if low <= step <= high} | {value})
    options = [(f"{step:,}", step) for step in steps]
    return ipywidgets.SelectionSlider(description=label, options=options, value=value, continuous_update=False, **_WIDE)


def share_slider(label, value=0.0):
    """A slider from 0 to 100%; the value is a share, 0 to 1."""
    options = [(f"{percent}%", percent / 100) for percent in range(0, 101, 5)]
    return ipywidgets.SelectionSlider(description=label, options=options, value=value, continuous_update=False, **_WIDE)


def _choice(label, options, value=None):
    return ipywidgets.Dropdown(description=label, options=options, value=value or options[0], **_WIDE)


def _spoken(control):
    """What a control shows, as text."""
    label = getattr(control, "label", control.value)
    return ", ".join(label) if isinstance(label, tuple) else str(label)


def _usd_or_not(value):
    return "does not fit" if pd.isna(value) else usd(value)


def _plain(value, over):
    return f"{value:.0%}" if over.endswith(("_rate", "_share")) else f"{value:,.10g}"


class RouterExplorer(Explorer):
    """A point on the curve of a router: what it costs, what it scores, and what it is worth at your error cost.

    Parameters
    ----------
    outcomes : DataFrame
        The outcomes table, with costs.
    router_score : Series
        Indexed by prompt_id; higher goes to the strong model.
    weak, strong : str
        Model ids.
    router_usd : float
        The router's own call, USD per request.
    """

    size, margins = (7.2, 3.6), (0.9, 0.3, 0.65, 0.2)

    def __init__(self, outcomes, router_score, *, weak, strong, router_usd=0.0):
        self.curve = tl.cost_quality_curve(outcomes, router_score, weak=weak, strong=strong)
        self.router_usd, self.names = router_usd, (weak, strong)
        ends = self.curve.iloc[[0, -1]]
        self._usd, self._score = ends["cost_usd"].to_numpy(), ends["score"].to_numpy()
        cost = outcomes.loc[outcomes["model_id"] == strong].set_index("prompt_id")["cost_usd"]
        ranked = cost.reindex(router_score.sort_values(ascending=False, kind="stable").index).to_numpy()
        calls = self.curve["strong_calls"].to_numpy()
        self._strong_usd = np.append(0.0, np.cumsum(ranked))[calls] / len(ranked)  # what the strong answers alone cost
        slider = ipywidgets.FloatSlider
        super().__init__(
            share=slider(description="strong calls (share)", value=0.2, max=1, step=0.01, readout_format=".0%", continuous_update=False, **_WIDE),
            factor=slider(description="strong price (times today's)", value=1, min=0.1, max=3, step=0.1, continuous_update=False, **_WIDE),
            error_usd=slider(description="error cost (USD)", value=0.05, max=1, step=0.01, readout_format=".2f", continuous_update=False, **_WIDE),
        )  # fmt: skip

    def table(self, *, share, factor, error_usd):
        at = int((self.curve["strong_share"] - share).abs().to_numpy().argmin())
        routed = self.curve["cost_usd"].iloc[at] + (factor - 1) * self._strong_usd[at] + self.router_usd
        usd_ = [self._usd[0], routed, self._usd[1] * factor]
        score = [self._score[0], self.curve["score"].iloc[at], self._score[1]]
        share_ = [0.0, self.curve["strong_share"].iloc[at], 1.0]
        rows = {
            "choice": [f"always {self.names[0]}", "router", f"always {self.names[1]}"],
            "strong_share": share_,
            "score": score,
            "cost_usd": usd_,
        }
        table = pd.DataFrame(rows)
        return table.assign(all_in_usd=table["cost_usd"] + (1 - table["score"]) * error_usd)

    def draw(self, ax, table, **_):
        marks = table.iloc[[1]].rename(columns={"choice": "label"})
        plots.routing_curve(self.curve, marks=marks, ax=ax)

    def words(self, table, *, error_usd, **_):
        best = table.loc[table["all_in_usd"].idxmin(), "choice"]
        saving = 1 - table["cost_usd"].iloc[1] / table["cost_usd"].iloc[2]
        money = (
            f"saves {saving:.0%} of the strong model's cost"
            if saving >= 0
            else f"costs {-saving:.0%} more than the strong model"
        )
        return (
            f"At {table['strong_share'].iloc[1]:.0%} strong calls the router scores {table['score'].iloc[1]:.1%} and {money}; "
            f"with {usd(error_usd)} an error the cheapest choice is: {best}."
        )

    def numbers(self, table, **_):
        thousand = table.assign(cost=1000 * table["cost_usd"], all_in=1000 * table["all_in_usd"], score=100 * table["score"])
        names = {"score": "score (%)", "cost": "cost (USD per 1,000)", "all_in": "with errors (USD per 1,000)"}
        return thousand[["choice", "score", "cost", "all_in"]].rename(columns=names)


class SampleExplorer(Explorer):
    """Each model against a reference: for one task, another margin, another cost of an error.

    Parameters
    ----------
    samples : DataFrame
        The samples table, with costs.
    reference : str
        Model id that the others shall match.
    margin : float
        How much worse is still good enough at the start, 0-1.
    error_cost_usd : float
        What a wrong answer costs at the start, US dollars.
    truncated : {"set_aside", "wrong"}
        As for `tierlab.compare`.
    """

    size, margins = (7.2, 2.6), (2.3, 0.9, 0.65, 0.1)

    def __init__(self, samples, *, reference, margin=0.1, error_cost_usd=0.01, truncated="set_aside"):
        self.samples, self.reference, self.truncated = samples, reference, truncated
        self._tiers = tl.as_tiers(samples).drop_duplicates("model_id").set_index("model_id")["tier"]
        self._prepared = {}  # what a task's answers say depends on no other control
        dollars = sorted({0.0, error_cost_usd, *(factor / 10**power for power in range(-1, 5) for factor in (1, 2, 5))})
        super().__init__(
            task=_choice("task", [_ALL, *sorted(samples["task"].dropna().unique())]),
            margin=ipywidgets.FloatSlider(description="margin (share of the score)", value=margin, min=0.01, max=0.5, step=0.01, readout_format=".0%", continuous_update=False, **_WIDE),
            error_usd=ipywidgets.SelectionSlider(description="error cost (USD)", options=[(usd(d), d) for d in dollars], value=error_cost_usd, continuous_update=False, **_WIDE),
        )  # fmt: skip

    def table(self, *, task, margin, error_usd):
        if task not in self._prepared:
            rows = self.samples if task == _ALL else self.samples[self.samples["task"] == task]
            self._prepared[task] = tl.comparison.prepare(rows, reference=self.reference, truncated=self.truncated)
        self.found = self._prepared[task].at(margin, error_cost_usd=error_usd)
        return self.found.pairs.assign(tier=self._tiers)

    def draw(self, ax, table, *, margin, **_):
        plots.differences(table, margin=margin, reference=self.reference, ax=ax)

    def words(self, table, *, task, **_):
        where = "On all tasks" if task == _ALL else f"On {task.replace('_', ' ')}"
        return f"{where}: {self.found.verdict}"

    def numbers(self, table, **_):
        found = self.found
        rows = found.candidates.join(found.costs["expected"]).join(table[["difference", "finding"]])
        shown = pd.DataFrame(
            {
                "model": rows.index,
                "answers": rows["answers"],
                "score (%)": 100 * rows["score"],
                "difference (points)": 100 * rows["difference"],
                "all in (USD per 1,000)": 1000 * rows["expected"],
                "finding": rows["finding"].fillna("reference"),
            }
        )
        return shown.reset_index(drop=True)
