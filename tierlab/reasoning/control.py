"""The control of distillation: when has a small model of your own paid for itself?"""

import ipywidgets
import pandas as pd

import tierlab as tl
from tierlab.core.explorer import WIDE, Explorer, choice, nice_slider
from tierlab.core.format import usd
from tierlab.reasoning import distillation, figures

OWN = "a classifier of your own"
_HOURS = (0, 1, 2, 5, 10, 20, 40, 80, 160, 320)
_RELABEL = [
    ("never", 0),
    ("every month", 1),
    ("every 3 months", 3),
    ("every 6 months", 6),
    ("every 12 months", 12),
]
_ERROR_USD = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ROWS = {
    "fixed_usd": "once, before the first request (USD)",
    "saving_usd": "saved per 1,000 requests (USD)",
    "requests": "requests that repay it",
    "requests_per_period": "requests that each later training needs",
    "days": "days until it has paid",
}


class DistillationExplorer(Explorer):
    """What a student costs once and saves per request, and when it has paid for itself.

    Parameters
    ----------
    prices : Prices
    teacher : str, optional
        Model that answers now and labels the examples; by default the first flagship of the lineup.
    student_usd : float
        USD per request of a classifier on a machine of your own; the small models of the lineup stand beside it, at
        their list price, and the text says where nobody is known to tune them.
    hour_usd : float
        USD per hour of the people who choose and check the examples.
    requests_per_day, input_tokens, output_tokens, labels : int
        Where the controls start.

    Notes
    -----
    The student answers from the day of the prices on. `gap_room` is how uncertain the difference in errors is, to either
    side (share 0-1); it is the band. `relabel_share` is what later labels and trainings cost, as a share of the first.
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
    ):
        self.prices, self.start = prices, f"{prices.as_of:%Y-%m-%d}"
        self.student_usd, self.hour_usd = student_usd, hour_usd
        offers = distillation.who_offers(self.start)
        self.tunable = set(", ".join(offers.loc[offers["offered"] != "no", "models"]).split(", "))
        lineup, models = prices.lineup(), prices.models()
        teacher = prices.resolve(teacher) if teacher else lineup["flagship"].iloc[0]
        slider, line = ipywidgets.SelectionSlider, {"continuous_update": False, **WIDE}
        super().__init__(
            teacher=choice("teacher", models, teacher),
            student=choice("student", [OWN, *lineup["small"].dropna()]),
            requests_per_day=nice_slider("requests per day", requests_per_day),
            input_tokens=nice_slider("input tokens per request", input_tokens, high=50_000),
            output_tokens=nice_slider(
                "output tokens per request", output_tokens, low=1, high=5_000
            ),
            labels=nice_slider("labels from the teacher", labels, high=1_000_000),
            hours=slider(
                description=f"people (hours at {usd(hour_usd)})",
                options=[(f"{hours}", hours) for hours in _HOURS],
                value=20,
                **line,
            ),
            relabel=ipywidgets.Dropdown(
                description="new labels and training", options=_RELABEL, value=6, **WIDE
            ),
            drift=ipywidgets.FloatSlider(
                description="growth of its errors (share per month)",
                value=0.002,
                max=0.02,
                step=0.001,
                readout_format=".1%",
                **line,
            ),
            gap=ipywidgets.FloatSlider(
                description="more errors than the teacher (share)",
                value=0.02,
                min=-0.1,
                max=0.3,
                step=0.01,
                readout_format=".0%",
                **line,
            ),
            error_usd=slider(
                description="error cost (USD)",
                options=[(usd(value), value) for value in _ERROR_USD],
                value=0.005,
                **line,
            ),
        )

    def plan(self, said):
        """The distillation that the values of the controls describe."""
        shape = {name: said[name] for name in ("input_tokens", "output_tokens")}
        names = [said[who] for who in ("teacher", "student") if said[who] != OWN]
        day = tl.daily_cost(tl.Workload(requests_per_day=1, **shape), self.prices, names)
        teacher_usd, *bought_usd = day["cost_usd"]
        # Of the teacher's errors so many that no share falls below 0.
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
        rows = self.found.drop(index="on").astype(float)
        rows.loc["saving_usd"] *= 1000
        rows = rows.rename(index=_ROWS).dropna().map("{:,.2f}".format).replace("inf", "never")
        days = self.found.loc["on"]
        rows.loc["on the day"] = ["never" if pd.isna(day) else f"{day:%Y-%m-%d}" for day in days]
        return rows.rename(columns={"value": "middle"}).rename_axis("").reset_index()
