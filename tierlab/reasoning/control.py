"""The controls of thinking and of distillation: which effort pays, and when has your own small model paid for itself?"""

import ipywidgets
import pandas as pd

import tierlab as tl
from tierlab.core.explorer import WIDE, Explorer, choice, nice_slider
from tierlab.core.format import share, usd
from tierlab.reasoning import distillation, effort, figures

OWN = "a classifier of your own"
_HOURS = (0, 1, 2, 5, 10, 20, 40, 80, 160, 320)
_RELABEL = {
    0: "never",
    1: "every month",
    3: "every 3 months",
    6: "every 6 months",
    12: "every 12 months",
}
_ERROR_USD = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SECOND_USD = (0.0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
_GAPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def _steps(label, steps, value, written):
    """Return a slider over given steps and the value at which it starts."""
    options = [(written(step), step) for step in sorted({*steps, value})]
    return ipywidgets.SelectionSlider(
        description=label, options=options, value=value, continuous_update=False, **WIDE
    )


def _share_slider(label, value, low, high, step, written):
    ends = {"value": value, "min": low, "max": high, "step": step, "readout_format": written}
    return ipywidgets.FloatSlider(description=label, continuous_update=False, **ends, **WIDE)


class ThinkingExplorer(Explorer):
    """What thinking has to achieve at each effort, on a provider's small model and on its flagship.

    Parameters
    ----------
    prices : Prices
    provider : str
    input_tokens, output_tokens : int
        Of a message; output is what is shown.
    error_gap, error_cost_usd, second_usd : float
        Where the controls start: share of messages that thinking sets right, USD per error, USD per second of waiting.
    """

    size, margins = (7.2, 3.8), (0.9, 0.2, 0.75, 0.35)

    def __init__(
        self,
        prices,
        provider,
        *,
        input_tokens,
        output_tokens,
        error_gap,
        error_cost_usd,
        second_usd,
    ):
        self.prices = prices
        super().__init__(
            provider=choice("provider", list(prices.lineup().index), provider),
            input_tokens=nice_slider("input tokens of a message", input_tokens, high=50_000),
            output_tokens=nice_slider("tokens of the answer", output_tokens, high=5_000),
            error_gap=_steps("messages that it sets right", _GAPS, error_gap, share),
            error_usd=_steps("cost of an error", _ERROR_USD[1:], error_cost_usd, usd),
            second_usd=_steps("value of a second of waiting", _SECOND_USD, second_usd, usd),
        )

    def table(self, *, provider, input_tokens, output_tokens, error_usd, second_usd, **_):
        request = tl.Workload(
            requests_per_day=1, input_tokens=input_tokens, output_tokens=output_tokens
        )
        costs = {"error_cost_usd": error_usd, "second_usd": second_usd}
        return effort.thinking_choices(request, self.prices, provider, **costs)

    def draw(self, ax, table, *, error_gap, **_):
        figures.gaps_needed(table, error_gap=error_gap, ax=ax)

    def words(self, table, *, error_gap, **_):
        return effort.thinking_headline(table, error_gap) + "."

    def numbers(self, table, **_):
        return effort.told(table)


class DistillationExplorer(Explorer):
    """What a student costs once and saves per request, and when it has paid for itself.

    Parameters
    ----------
    prices : Prices
    teacher : str, optional
        Model that answers now and labels the examples; by default the first flagship of the lineup.
    student_usd : float
        USD per request of a classifier on your own machine. The small models of the lineup can be chosen as well, at
        their list price; the text says if no offer to tune the chosen one is known.
    hour_usd : float
        USD per hour of the people who choose and check the examples.
    requests_per_day, input_tokens, output_tokens, labels : int
        Where the controls start.
    start : mapping of str to float, optional
        Where further controls start: hours (of people), relabel (months, 0 for never), gap (share) and error_usd.

    Notes
    -----
    The student answers from the day of the prices on. `gap_room` says how uncertain the difference in errors is, to either
    side (share 0-1), which makes the band. `relabel_share` is what later labels and trainings cost, as a share of the
    first.
    """

    size, margins = (7.2, 3.6), (0.9, 1.5, 0.75, 0.2)
    months, gap_room, relabel_share = 24, 0.01, 0.5

    def __init__(
        self,
        prices,
        *,
        teacher=None,
        student_usd=1e-6,
        hour_usd=60,
        requests_per_day=10_000,
        input_tokens=200,
        output_tokens=10,
        labels=1_000,
        start=None,
    ):
        self.prices, self.start = prices, f"{prices.as_of:%Y-%m-%d}"
        self.student_usd, self.hour_usd = student_usd, hour_usd
        self.tunable = distillation.tunable_models(self.start)
        lineup, models = prices.lineup(), prices.models()
        teacher = prices.resolve(teacher) if teacher else lineup["flagship"].iloc[0]
        start = {"hours": 20, "relabel": 6, "gap": 0.02, "error_usd": 0.005} | dict(start or {})
        again = {start["relabel"]: f"every {start['relabel']:g} months"} | _RELABEL
        super().__init__(
            teacher=choice("teacher", models, teacher),
            student=choice("student", [OWN, *lineup["small"].dropna()]),
            requests_per_day=nice_slider("requests per day", requests_per_day),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=50_000),
            output_tokens=nice_slider(
                "output tokens per request", output_tokens, low=1, high=5_000
            ),
            labels=nice_slider("labels from the teacher", labels, high=1_000_000),
            hours=_steps(
                f"people (hours at {usd(hour_usd)})", _HOURS, start["hours"], "{:g}".format
            ),
            relabel=ipywidgets.Dropdown(
                description="new labels and training",
                options=[(again[months], months) for months in sorted(again)],
                value=start["relabel"],
                **WIDE,
            ),
            drift=_share_slider(
                "growth of its errors (share per month)", 0.002, 0, 0.02, 0.001, ".1%"
            ),
            gap=_share_slider(
                "more errors than the teacher (share)", start["gap"], -0.1, 0.3, 0.01, ".0%"
            ),
            error_usd=_steps("error cost (USD)", _ERROR_USD, start["error_usd"], usd),
        )

    def plan(self, said):
        """Return the distillation that the values of the controls describe."""
        shape = {name: said[name] for name in ("input_tokens", "output_tokens")}
        names = [said[who] for who in ("teacher", "student") if said[who] != OWN]
        day = tl.daily_cost(tl.Workload(requests_per_day=1, **shape), self.prices, names)
        teacher_usd, *bought_usd = day["cost_usd"]
        # The teacher makes just enough errors for the student's lowest share not to fall below 0.
        least = max(-said["gap"] + self.gap_room, 0)
        low, high = least + said["gap"] - self.gap_room, least + said["gap"] + self.gap_room
        return distillation.Distillation(
            requests_per_day=said["requests_per_day"],
            teacher_usd=teacher_usd,
            student_usd=bought_usd[0] if bought_usd else self.student_usd,
            labels=said["labels"],
            label_usd=teacher_usd,
            curation_hours=said["hours"],
            hour_usd=self.hour_usd,
            teacher_error=least,
            student_error=(max(low, 0), high),
            error_cost_usd=said["error_usd"],
            drift=said["drift"],
            # A dropdown with None in its list would show nothing as chosen.
            relabel_months=said["relabel"] or None,
            relabel_share=self.relabel_share,
        )

    def table(self, **said):
        plan = self.plan(said)
        self.found = distillation.break_even(plan, start=self.start, months=self.months)
        return distillation.cumulative_cost(plan, months=self.months)

    def draw(self, ax, table, *, teacher, student, **_):
        names = (teacher, "your classifier" if student == OWN else student)
        figures.investment(
            table, start=self.start, names=names, break_even=self.found.at["days", "value"], ax=ax
        )

    def words(self, table, *, student, **_):
        found = self.found["value"]
        saving = "saves" if found["saving_usd"] >= 0 else "loses"
        text = f"The student costs {usd(found['fixed_usd'])} once and {saving} {usd(1000 * abs(found['saving_usd']))} per 1,000 requests: "
        if pd.isna(found["on"]):
            text += f"within {self.months} months it does not pay for good."
        else:
            text += f"from {found['on']:%Y-%m-%d} on it has paid, after {found['days']:,.0f} days."
        if student == OWN:
            return text
        text += f" {student} is at its list price, without a training fee"
        return text + (
            "." if student in self.tunable else f"; no offer to tune it is known on {self.start}."
        )

    def numbers(self, table, **_):
        rows = distillation.told(self.found)
        return rows.map(lambda cell: f"{cell:,.2f}" if isinstance(cell, float) else cell)
