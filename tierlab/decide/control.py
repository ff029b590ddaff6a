"""The control of notebook 03: the checklist as a form that ends in a filed record."""

import html

import ipywidgets
import mistune

import tierlab as tl
from tierlab.core import paths
from tierlab.core.explorer import ALL, WIDE, Explorer, choice, share_slider
from tierlab.core.format import usd
from tierlab.core.tables import load_tasks
from tierlab.decide import figures
from tierlab.decide.checklist import CHECKLIST
from tierlab.decide.options import Evidence
from tierlab.decide.recommend import counts_said, rates_said
from tierlab.decide.record import words_of
from tierlab.decide.tasks import Task

_MONEY = [0.0, *(factor * 10.0**power for power in range(-3, 5) for factor in (1, 2, 5))]
_RATINGS = [("low", 1), ("medium", 2), ("high", 3)]
_STEPS = [  # the controls of each step
    ["task", "stakes", "complexity", "provider"],
    ["requests_per_day", "input_tokens", "output_tokens"],
    ["error_usd", "second_usd"],
    ["mid_examples", "mid_wrong"],
    ["small_examples", "small_wrong", "flagship_examples", "flagship_wrong"],
    ["cache_hit_rate", "batch_share"],
    [],
]
_HINTS = {
    1: "The ratings count for a task of your own. What can go wrong: low, it is asked again; medium, it takes somebody's time; "
    "high, there is damage (step 3 puts your dollars in its place). Complexity sets the assumed error rates: low, a short text "
    "and one choice; medium, several steps; high, reasoning that has to hold over many steps.",
    3: "Does somebody wait? The hourly cost over 3,600: 18 USD an hour are 0.005 a second. 0: nobody waits.",
    4: "<code>python -m tierlab sample my_examples.jsonl</code> runs them (guides/samples.md has the form); 0 examples: the error "
    "rate is assumed.",
    5: "The same examples. What you leave at 0 stays assumed.",
}
OWN = "a task of my own"


def money_slider(label, value, steps=tuple(_MONEY)):
    """Return a slider over 0, 1, 2, 5, 10, ... of a dollar and the value that it starts at."""
    options = [(usd(step), step) for step in sorted({*steps, value})]
    return ipywidgets.SelectionSlider(
        description=label, options=options, value=value, continuous_update=False, **WIDE
    )


def _controls(prices, product, provider):
    """The controls by name, in the order of the steps, set to the product."""
    tasks = [*((name, task) for task, name in load_tasks()["name"].items()), (OWN, OWN)]
    ratings = {"stakes": "what can go wrong", "complexity": "how complex is the reasoning"}
    providers = list(prices.lineup().index)
    numbers = {  # label, first value, range
        "requests_per_day": ("requests per day", product.requests_per_day, 1, 1_000_000_000),
        "input_tokens": ("input tokens per request", product.message.input_tokens, 1, 1_000_000),
        "output_tokens": ("output tokens per request", product.message.output_tokens, 1, 200_000),
    }
    dollars = {  # label, first value, most, step
        "error_usd": ("error cost (USD)", product.error_cost_usd, 1e6, 0.01),
        "second_usd": ("value of a second (USD)", 0.0, 100.0, 0.001),
    }
    counts = {}
    for tier, name in (("mid", "mid-tier"), ("small", "small"), ("flagship", "flagship")):
        counts[f"{tier}_examples"] = (f"{name}: examples", 0, 0, 100_000)
        counts[f"{tier}_wrong"] = (f"{name}: wrong answers", 0, 0, 100_000)

    def integers(named):
        return {
            name: ipywidgets.BoundedIntText(
                description=label, value=value, min=low, max=high, **WIDE
            )
            for name, (label, value, low, high) in named.items()
        }

    return {
        "task": ipywidgets.Dropdown(description="task", options=tasks, value=product.task, **WIDE),
        **{
            name: ipywidgets.Dropdown(description=label, options=_RATINGS, value=2, **WIDE)
            for name, label in ratings.items()
        },
        "provider": choice("provider", [*providers, ALL], provider or providers[0]),
        **integers(numbers),
        **{
            name: ipywidgets.BoundedFloatText(
                description=label, value=value, max=most, step=step, **WIDE
            )
            for name, (label, value, most, step) in dollars.items()
        },
        **integers(counts),
        "cache_hit_rate": share_slider("cache hit rate (% of input tokens)"),
        "batch_share": share_slider("batch share (% of requests)"),
    }


class DecisionChecklist(Explorer):
    """The article's seven steps as a form: each step shows what it changes, the last one files a decision record.

    Parameters
    ----------
    prices : Prices
    product : Product, optional
        Gives the controls their first values: task, requests a day, tokens of a message, cost of an error. By default
        the running product (`tierlab.load_product`).
    provider : str, optional
        By default the first of the lineup.
    folder : path
        Where records are filed; a relative path starts at the top of the repository.
    decided_on : date, optional
        The day of the decision; by default the day on which the button is pressed.
    """

    size, margins = (7.2, 2.5), (2.3, 0.5, 0.85, 0.3)

    def __init__(self, prices, *, product=None, provider=None, folder="decisions", decided_on=None):
        self.prices, self.decided_on = prices, decided_on
        controls = _controls(prices, product or tl.load_product(), provider)
        line = {"continuous_update": False, **WIDE}
        self.title, self.owner, self.folder, self.name = (
            ipywidgets.Text(description=label, placeholder=hint, **line)
            for label, hint in (
                ("title", "what is decided"),
                ("owner", "who answers for it"),
                ("folder", ""),
                ("name of your task", "for a task of my own"),
            )
        )
        self.folder.value = str(folder)
        self.replace = ipywidgets.Checkbox(
            description="replace a record of that name", value=False, **WIDE
        )
        self.button = ipywidgets.Button(
            description="File the decision record", button_style="primary", layout={"width": "16em"}
        )
        self.filed = ipywidgets.HTML()
        self.button.on_click(self._file)
        self.headline = ipywidgets.HTML()
        self.name.observe(self._changed, names="value")
        super().__init__(**controls)
        self._arrange(controls)

    def _arrange(self, controls):
        """Put the controls under their steps, with a button to the next step and the result below."""
        style = "max-width: 43em; line-height: 1.4"
        parts = [[controls[name] for name in names] for names in _STEPS]
        parts[0].append(self.name)
        for number, words in _HINTS.items():
            parts[number - 1].append(ipywidgets.HTML(f'<div style="{style}">{words}</div>'))
        parts[-1] += [self.title, self.owner, self.folder, self.replace, self.button, self.filed]
        last = len(CHECKLIST) - 1
        filing = f"File the decision, and {CHECKLIST[last][0].lower()}{CHECKLIST[last][1:]}"
        self.steps = ipywidgets.Accordion(
            children=[ipywidgets.VBox(own) for own in parts],
            titles=[f"{i}. {text}" for i, text in enumerate([*CHECKLIST[:last], filing], 1)],
            selected_index=0,
        )
        on = ipywidgets.Button(description="Next step", layout={"width": "10em"})

        def go_on(_):
            self.steps.selected_index = min((self.steps.selected_index or 0) + 1, last)

        def is_last(change):
            on.disabled = change["new"] == last

        on.on_click(go_on)
        self.steps.observe(is_last, names="selected_index")
        self.box.children = [self.steps, on, self.headline, *self.box.children[-1:]]

    def redraw(self):
        """Draw the figure and the table, and above them the choice in one bold line."""
        super().redraw()
        self.headline.value = ""
        if self.found is not None:
            usd_each = self.found.table["expected_usd"].iloc[0]
            day = usd(usd_each * self.controls["requests_per_day"].value)
            said = f"{self.found.tier}: {self.found.model_id}, {usd(usd_each)} a request in total, {day} a day"
            if self.found.close:
                said += f"; too close to call against {' and '.join(self.found.close[1:])}"
            said += f" (error rates: {rates_said(self.found)})"
            self.headline.value = f"<strong>{html.escape(said)}</strong>"

    def table(self, **form):
        self.found = None  # an error below leaves nothing to file
        counts = {
            tier: (form[f"{tier}_wrong"], form[f"{tier}_examples"])
            for tier in ("mid", "small", "flagship")
            if form[f"{tier}_wrong"] or form[f"{tier}_examples"]
        }
        if counts and form["provider"] == ALL:
            raise ValueError(
                "Counts belong to one provider's model: choose a provider in step 1, or set the examples back to 0."
            )
        task = form["task"]
        if task == OWN:
            task = Task(self.name.value.strip() or OWN, form["stakes"], form["complexity"])
        shape = [*_STEPS[1], *_STEPS[5]]
        self.found = tl.recommend(
            task=task,
            error_cost_usd=form["error_usd"],
            second_usd=form["second_usd"],
            workload=tl.Workload(**{name: form[name] for name in shape}),
            prices=self.prices,
            provider=None if form["provider"] == ALL else form["provider"],
            evidence=Evidence(error_counts=counts),
        )
        self.size = (7.2, 2.5 if len(self.found.table) <= 3 else 4.6)
        return self.found.table

    def draw(self, ax, table, **_):
        figures.expected_costs(table, ax=ax)

    def words(self, table, **_):
        prices = f"Prices: {self.prices.source}, as of {self.prices.as_of:%Y-%m-%d}."
        return f"{self.found.reason} Next, step {self.found.step}: {self.found.next_step} {prices}"

    def numbers(self, table, **_):
        columns = {
            "model_id": "model",
            "tier": "tier",
            "error_rate": "errors (%)",
            "counted": "counted",
            "price_usd": "price (USD per 1,000)",
            "expected_usd": "total (USD per 1,000)",
            "best_share": "cheapest in (% of draws)",
        }
        counts = [counts_said(row) or row["basis"] for _, row in table.iterrows()]
        shown = table.assign(counted=counts)[list(columns)]
        shown[["error_rate", "best_share"]] *= 100
        shown[["price_usd", "expected_usd"]] *= 1000
        return shown.rename(columns=columns)

    def _file(self, _button):
        """File what the screen shows, or say beside the button what went wrong."""
        try:
            if self.found is None:
                raise ValueError(self.summary)
            path = tl.file_record(
                self.found,
                paths.BUILD.parent / self.folder.value,  # an absolute folder stays what it is
                title=self.title.value,
                owner=self.owner.value,
                decided_on=self.decided_on,
                replace=self.replace.value,
            )
            said = f'<p role="status"><strong>{html.escape(f"Filed: {path}")}</strong></p>'
            self.filed.value = said + mistune.create_markdown(
                escape=True, plugins=["table", "task_lists"]
            )(words_of(path))
        except (ValueError, OSError) as error:
            self.filed.value = f'<p role="alert"><strong>{html.escape(str(error))}</strong></p>'
