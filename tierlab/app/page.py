"""The page of the app: a workload panel, a tab for each question, two scenarios side by side, and a decision to file."""

import base64
import contextlib
import re
from pathlib import Path

import ipywidgets
import traitlets

import tierlab as tl
from tierlab.app.answer import Said, Setting, answer, difference, lineups
from tierlab.app.tabs import TABS
from tierlab.core import paths
from tierlab.core.explorer import choice, drawn, nice_slider, picture_widget, said, share_slider
from tierlab.core.format import number, usd
from tierlab.core.tables import load_tasks
from tierlab.core.untrusted import in_html
from tierlab.decide.checklist import CHECKLIST
from tierlab.decide.control import money_slider
from tierlab.decide.figures import expected_costs, region_panel
from tierlab.decide.match import cheapest_ranges, extra_costs

STYLE = Path(__file__).with_name("app.css")
DECIDE = "Decide"
SIZE = (9.32, 3.05)  # inches, of both figures of the decision
BOXES = ((0.19, 0.17, 0.25, 0.66), (0.56, 0.17, 0.37, 0.73))  # left, bottom, width, height
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)  # USD per second of waiting
DAY_TITLE = "What a day costs on each tier, errors included"


class App:
    """One screen that says which tier does the job, and at what cost.

    Parameters
    ----------
    product : Product, optional
        Starting values of the panel; by default data/product.yaml.
    folder : path
        Where records are filed; a relative path starts at the top of the repository.
    decided_on : date, optional
        Date of the filed records; by default the day on which the button is pressed.

    Notes
    -----
    The numbers come from `tierlab.app.answer` and from the controls of the notebooks (`tierlab.app.tabs`). Only the open
    tab is computed, and a tab is built when it is first opened.
    """

    def __init__(self, *, product=None, folder="decisions", decided_on=None):
        self.folder, self.decided_on = paths.BUILD.parent / folder, decided_on
        product = product or tl.load_product()
        shape, tasks = product.message, load_tasks()["name"]
        known = lineups()
        self.panel = {
            "lineup": choice("Lineup and date", known, known[0][1]),
            "requests_per_day": nice_slider("Requests a day", product.requests_per_day),
            "input_tokens": nice_slider("Input tokens a request", shape.input_tokens, high=100_000),
            "output_tokens": nice_slider(
                "Output tokens a request", shape.output_tokens, high=20_000
            ),
            "cache_hit_rate": share_slider("Input read from a cache"),
            "batch_share": share_slider("Requests sent in a batch"),
            "error_cost_usd": money_slider("Cost of one error", product.error_cost_usd),
        }
        self.asked = {
            "task": choice("Task", [(name, task) for task, name in tasks.items()], product.task),
            "second_usd": money_slider("A second of waiting is worth", 0.0, SECONDS),
        }
        self.counts = {
            (tier, what): ipywidgets.BoundedIntText(description=f"{tier}, {what}", max=100_000)
            for tier in tl.TIERS
            for what in ("wrong", "examples")
        }
        self.controls = self.panel | self.asked | self.counts
        self._start = {name: control.value for name, control in self.controls.items()}
        self.tabs = ipywidgets.ToggleButtons(options=[DECIDE, *TABS], value=DECIDE)
        self.filing = ipywidgets.ToggleButton(description="Checklist and record")
        self.numbers = ipywidgets.ToggleButton(description="Numbers as a table")
        self.title, self.owner = (ipywidgets.Text(description=name) for name in ("Title", "Owner"))
        self.replace = ipywidgets.Checkbox(description="Replace a record of that name")
        self.bar, self.day, self.head, self.cards, self.strip, self.steps = (
            ipywidgets.HTML() for _ in range(6)
        )
        self.basis, self.filed = ipywidgets.HTML(), ipywidgets.HTML()
        self.image = picture_widget()
        self._built, self._moving, self.now, self.kept = {}, False, None, None
        self._arrange()
        for control in (*self.controls.values(), self.tabs, self.filing, self.numbers):
            control.observe(self._changed, names="value")
        self.refresh()

    def _arrange(self):
        """Build the frame of the page; each part has the class by which the style sheet knows it."""
        keep = ipywidgets.Button(description="Keep as scenario").add_class("tl-primary")
        reset = ipywidgets.Button(description="Reset")
        file = ipywidgets.Button(description="File the record").add_class("tl-primary")
        keep.on_click(self._keep)
        reset.on_click(self._reset)
        file.on_click(self._file)
        self.side, self.stage = ipywidgets.VBox(), ipywidgets.Box()
        self.own, self.note = ipywidgets.GridBox().add_class("tl-own"), ipywidgets.HTML()
        buttons = ipywidgets.HBox([keep, reset]).add_class("tl-buttons")
        own = ipywidgets.HTML(
            "<h3>Your own examples</h3><p>Wrong answers in how many examples; with 0, the error rate is assumed.</p>"
        )
        examples = ipywidgets.VBox([own, *self.counts.values()])
        filed = self.filed.add_class("tl-filed")
        record = ipywidgets.VBox([self.title, self.owner, self.replace, file, filed])
        self.form = ipywidgets.GridBox([self.steps, examples, record]).add_class("tl-form")
        head = ipywidgets.HTML("<h3>Your workload</h3>")
        basis = self.basis.add_class("tl-basis")
        panel = ipywidgets.VBox([head, *self.panel.values(), self.day, buttons, basis])
        main = [
            self.tabs.add_class("tl-tabs"),
            ipywidgets.GridBox([self.head, self.side]).add_class("tl-answer"),
            self.cards,
            self.stage.add_class("tl-stage"),
            self.strip.add_class("tl-strip"),
        ]
        for control in (*self.controls.values(), self.title, self.owner, self.replace):
            _fit(control)
        style = ipywidgets.HTML(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")
        parts = [
            self.bar.add_class("tl-bar"),
            panel.add_class("tl-panel"),
            ipywidgets.VBox(main).add_class("tl-main"),
            style.add_class("tl-style"),
        ]
        self.box = ipywidgets.GridBox(parts).add_class("tl-app")

    def setting(self):
        """Return the current values of the controls as a `Setting`."""
        values = {name: control.value for name, control in (self.panel | self.asked).items()}
        counts = {tier: self._counted(tier) for tier in tl.TIERS if any(self._counted(tier))}
        return Setting(**values, counts=counts)

    def _counted(self, tier):
        return tuple(self.counts[tier, what].value for what in ("wrong", "examples"))

    def refresh(self):
        """Compute and show the open tab, or the error in its place."""
        setting = self.setting()
        day = f"Prices: {setting.prices.source}, as of {setting.prices.as_of:%Y-%m-%d}"
        self.bar.value = (
            f"<b>tierlab</b><h1>Which model tier does the job?</h1><span>{in_html(day)}</span>"
        )
        self.day.value = _day_html(setting)
        try:
            if self.now is None or self.now.setting != setting:
                self.now = None
                self.now = answer(setting)
            grounds = "; ".join(self.now.found.grounds)
            self.basis.value = f"<p>{in_html(grounds[:1].upper())}{in_html(grounds[1:])}.</p>"
            show = self._decision if self.tabs.value == DECIDE else self._tab
            self.said = show(setting)
        except Exception as error:
            self.said = Said("No answer for these settings", said(error), ())
            # No picture of other settings stays, but the controls do, because one of them can put it right.
            self.stage.children = [
                part for part in self.stage.children if part in (self.form, self.own)
            ]
        self.head.value, self.cards.value = _head_html(self.said), _cards_html(self.said.cards)
        self.strip.value = _scenarios_html(self.now, self.kept)

    def _decision(self, setting):
        self.side.children = (*self.asked.values(), self.filing)
        if self.filing.value:
            self.steps.value = _steps_html(self.now.found)
            self.stage.children = (self.form,)
        else:
            self.image.value = drawn(SIZE, 100, self._draw)
            self.image.tooltip = f"{self.now.said.headline}. {self.now.said.words}"
            self.stage.children = (self.image,)
        return self.now.said

    def _draw(self, figure):
        setting = self.now.setting
        left, right = (figure.add_axes(box) for box in BOXES)
        expected_costs(self.now.found.table, requests=setting.requests_per_day, ax=left)
        left.set_xlabel("USD a day; lines: 90% of draws")
        options, now = self.now.found.table, setting.error_cost_usd
        extra = extra_costs(options, now=now, requests_per_day=setting.requests_per_day)
        least, most = extra["error_cost_usd"].eq(0), extra["error_cost_usd"].eq(now)
        # High enough for where the lines begin, and for today's nearest rival of the cheapest tier.
        top = extra.loc[least, "extra_usd"].max()
        top = max(top, 1.2 * extra.loc[most, "extra_usd"].nsmallest(2).iloc[-1]) or 1.0
        region_panel(extra, cheapest_ranges(options), now=now, top=top, ax=right)
        right.set(xlabel="cost of an error (USD)", ylabel="USD a day above the cheapest")
        for at, words in ((0.005, DAY_TITLE), (0.5, "What another tier would cost on top")):
            figure.text(at, 0.95, words, weight="bold")

    def _tab(self, setting):
        name = self.tabs.value
        tab, key = TABS[name], TABS[name].key(setting)
        built, drawn_for, explorer = self._built.get(name, (None, None, None))
        if built != key:
            explorer = self._build(tab, setting, explorer)
        if drawn_for != setting:  # otherwise one of its own controls moved, and it redrew itself
            tab.follow(explorer, setting)
            explorer.redraw()
        self._built[name] = (key, setting, explorer)
        self.note.value = f"<p>{in_html(tab.note)}</p>"
        own = [control for part, control in explorer.controls.items() if part not in explorer.given]
        self.own.children = (*own, self.note)
        self.side.children = (self.numbers,)
        self.stage.children = (self.own, explorer.text if self.numbers.value else explorer.image)
        if explorer.shown is None:
            raise ValueError(explorer.summary)
        return tab.said(explorer, explorer.shown, setting)

    def _build(self, tab, setting, before):
        """Build the control of a tab, with the values that its own sliders had before."""
        explorer = tab.build(setting)
        tab.follow(explorer, setting)
        for name, control in explorer.controls.items():
            if before is not None and control.value != before.controls[name].value:
                # A choice from the previous lineup may not exist in this one.
                with contextlib.suppress(traitlets.TraitError):
                    control.value = before.controls[name].value
            _fit(control)
            control.observe(self._changed, names="value")
        return explorer

    def _changed(self, _change):
        if not self._moving:
            self.refresh()

    def _keep(self, _button):
        self.kept = self.now
        self.refresh()

    def _reset(self, _button):
        self._moving = True
        for name, value in self._start.items():
            self.controls[name].value = value
        self._moving, self.kept = False, None
        self.refresh()

    def _file(self, _button):
        """File the decision on the screen and offer it as a download, or say beside the button what went wrong."""
        try:
            if self.now is None:
                raise ValueError(self.said.words)
            path = tl.file_record(
                self.now.found,
                self.folder,
                title=self.title.value,
                owner=self.owner.value,
                decided_on=self.decided_on,
                replace=self.replace.value,
            )
            data = base64.b64encode(path.read_bytes()).decode()
            self.filed.value = (
                f'<p role="status">Filed: {in_html(path)}</p><p><a download="{in_html(path.name)}" '
                f'href="data:text/markdown;base64,{data}">Download {in_html(path.name)}</a></p>'
            )
        except (ValueError, OSError) as error:
            self.filed.value = f'<p role="alert"><b>{in_html(error)}</b></p>'

    def __repr__(self):
        cards = [" | ".join(card) for card in self.said.cards]
        return "\n".join([f"App, {self.tabs.value}", self.said.headline, self.said.words, *cards])

    def _repr_mimebundle_(self, **_):
        return self.box._repr_mimebundle_() | {"text/plain": repr(self)}


def _fit(control):
    """Leave to the style sheet the widths that a control sets itself in a notebook."""
    control.layout.width = control.style.description_width = "auto"


def _day_html(setting):
    day = setting.requests_per_day / 1e6
    tokens = [number(day * tokens) for tokens in (setting.input_tokens, setting.output_tokens)]
    whole = number(day * (setting.input_tokens + setting.output_tokens))
    return (
        f"<p>One day is <b>{whole} million tokens</b>, {tokens[0]} million in and {tokens[1]} million out. "
        "Every tab uses these settings.</p>"
    )


def _mark(tier):
    return f'<i class="tl-mark tl-{tier}" role="img" aria-label="{tier} tier"></i>' if tier else ""


def _head_html(said):
    words = re.sub(r"`([^`]+)`", r"<code>\1</code>", in_html(said.words))
    return (
        f'<div role="status"><h2>{_mark(said.tier)}<span>{in_html(said.headline)}</span></h2>'
        f"<p>{words}</p></div>"
    )


def _cards_html(cards):
    shown = "".join(
        f"<li><span>{in_html(label)}</span><b>{in_html(value)}</b><span>{in_html(note)}</span></li>"
        for label, value, note in cards
    )
    return f'<ul class="tl-cards">{shown}</ul>'


def _steps_html(found):
    items = []
    for place, step in enumerate(CHECKLIST, 1):
        state = "done" if place in found.done else "next" if place == found.step else "open"
        items.append(f'<li class="tl-{state}">{in_html(step)} <small>{state}</small></li>')
    return f"<h3>The checklist</h3><ol>{''.join(items)}</ol>"


def _scenarios_html(now, kept):
    if now is None:
        return ""
    b = "<li><b>B Kept</b><span>Press Keep as scenario to keep these settings here; then move the panel.</span></li>"
    apart = "<li><b>B less A</b><span>The difference appears here.</span></li>"
    if kept is not None:
        b = _scenario_html("B Kept", kept)
        day, bill = difference(now, kept)
        apart = (
            f"<li><b>B less A</b><strong>{in_html(day)}</strong><span>{in_html(bill)}</span></li>"
        )
    head = "<h3>Scenarios</h3><span>USD a day, errors included</span>"
    return f'{head}<ul class="tl-scenarios">{_scenario_html("A Now", now)}{b}{apart}</ul>'


def _scenario_html(name, answer):
    found, best = answer.found, answer.days.iloc[0]
    model = f"{found.model_id}, {best['best_share']:.0%} firm"
    return (
        f"<li><b>{name}</b> {_mark(found.tier)}<em>{in_html(model)}</em>"
        f"<strong>{in_html(usd(best['expected_usd']))}</strong><span>{in_html(answer.setting)}</span></li>"
    )
