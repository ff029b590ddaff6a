"""Distillation as an investment: what it costs once, what it saves per request, when it has paid, and who offers it."""

from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.core.tables import iso_day
from tierlab.scaling.costs import DAYS_PER_MONTH

_SHARES = ("teacher_error", "student_error", "drift", "relabel_share")
_ABOVE = {"monthly_growth": -1, "relabel_months": 0}  # these numbers must lie above their bound
_ROWS = {
    "fixed_usd": "once, before the first request (USD)",
    "saving_usd": "saved per 1,000 requests (USD)",
    "days": "days until it has paid",
}


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A small model (the student) that takes over from a large one (the teacher) whose answers it was trained on.

    Any number may be a (low, high) pair for what is known only as a range; the results then have a band.

    Attributes
    ----------
    requests_per_day : float
    teacher_usd, student_usd : float
        USD per request. A student on your own machine costs its machine time, idle hours included if it has the machine
        to itself.
    labels : float
        Examples that the teacher labels.
    label_usd : float
        USD per label: the teacher's price and any check of the label.
    curation_hours, hour_usd : float
        Hours of people to choose, check and maintain the examples, and USD per hour.
    training_usd : float
        USD per training run, including the set-up of hosting.
    teacher_error, student_error : float
        Share 0-1 of requests answered wrongly; the student's is the one right after training.
    error_cost_usd : float
        USD per wrong answer.
    drift : float
        How much the student's error grows per month since its last training (share 0-1), because traffic changes.
    relabel_months : float, optional
        Months after which the student is trained on new labels, which sets its error back; None for never.
    relabel_share : float
        What new labels and training cost, as a share 0-1 of the first time.
    monthly_growth : float
        Growth of requests per month, 0.1 for 10%.

    Raises
    ------
    ValueError
        If a share lies outside 0-1, a number is negative or a (low, high) pair is out of order.

    Examples
    --------
    >>> plan = Distillation(requests_per_day=10_000, teacher_usd=0.01, student_usd=0.002, labels=1_000, label_usd=0.01)
    >>> round(fixed_usd(plan), 6), round(saving_usd(plan), 6)
    (10.0, 0.008)
    """

    requests_per_day: float | tuple
    teacher_usd: float | tuple
    student_usd: float | tuple
    labels: float | tuple
    label_usd: float | tuple
    curation_hours: float | tuple = 0.0
    hour_usd: float | tuple = 0.0
    training_usd: float | tuple = 0.0
    teacher_error: float | tuple = 0.0
    student_error: float | tuple = 0.0
    error_cost_usd: float | tuple = 0.0
    drift: float | tuple = 0.0
    relabel_months: float | tuple | None = None
    relabel_share: float | tuple = 1.0
    monthly_growth: float | tuple = 0.0

    def __post_init__(self):
        for name, (low, high) in self.ranges().items():
            if name in _SHARES:
                right, bound = 0 <= low <= high <= 1, "from 0 to 1"
            elif name in _ABOVE:
                right, bound = _ABOVE[name] < low <= high < np.inf, f"above {_ABOVE[name]}"
            else:
                right, bound = 0 <= low <= high < np.inf, "from 0 up"
            if not right:
                value = getattr(self, name)
                raise ValueError(
                    f"{name}={value!r}; allowed: a number {bound}, or a (low, high) pair"
                )

    def ranges(self):
        """Return (low, high) of every number that is given; the ends of a single number are equal."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        ends = {name: np.ravel(value) for name, value in given.items() if value is not None}
        return {name: (float(value[0]), float(value[-1])) for name, value in ends.items()}

    def point(self):
        """Return the same plan with every range at its middle."""
        middle = {name: (low + high) / 2 for name, (low, high) in self.ranges().items()}
        return replace(self, **middle)

    def corners(self):
        """Return a plan for every combination of the ends of the ranges; without ranges, the plan itself."""
        ranges = self.ranges()
        corners = product(*map(dict.fromkeys, ranges.values()))  # equal ends are one
        return [replace(self, **dict(zip(ranges, corner, strict=True))) for corner in corners]


def fixed_usd(plan):
    """Return what the first student costs before it answers a request: labels, people, training.

    Parameters
    ----------
    plan : Distillation

    Returns
    -------
    float
        USD; with ranges, at their middle.
    """
    plan = plan.point()
    return plan.labels * plan.label_usd + plan.curation_hours * plan.hour_usd + plan.training_usd


def saving_usd(plan, months=0.0):
    """Return what one request saves with the student, errors included.

    Parameters
    ----------
    plan : Distillation
    months : array_like of float
        Since the last training.

    Returns
    -------
    float or ndarray
        USD; negative where the student's errors cost more than it saves.

    Notes
    -----
    (c_teacher + e_teacher C) - (c_student + e_student C), with e_student + drift x months, at most 1.
    """
    plan = plan.point()
    error = np.minimum(plan.student_error + plan.drift * np.asarray(months, float), 1)
    more_errors = (error - plan.teacher_error) * plan.error_cost_usd
    saving = plan.teacher_usd - plan.student_usd - more_errors
    return saving if saving.ndim else float(saving)


def relabelling(plan, months):
    """Return what regular relabelling and drift cost per month, and the interval at which their sum is least.

    Parameters
    ----------
    plan : Distillation
    months : array_like of float
        Between two trainings, above 0.

    Returns
    -------
    table : DataFrame
        By months, USD per month: labels_usd (labels and trainings), drift_usd (errors since the last training) and usd
        (their sum).
    best : float
        Months at which the sum is least; infinite where drift costs nothing.

    Notes
    -----
    With d months between two trainings, labels cost relabel / d a month, and drift costs drift x C x requests x d / 2.
    The sum is least where both are equal, at d = sqrt(2 relabel / (drift x C x requests)), the square-root formula of
    Harris (1913).

    Examples
    --------
    >>> plan = Distillation(requests_per_day=100, teacher_usd=0.01, student_usd=0, labels=100, label_usd=1, drift=0.01, error_cost_usd=1)
    >>> round(relabelling(plan, [1])[1], 2)
    2.56
    """
    plan, months = plan.point(), np.asarray(months, float)
    once = plan.relabel_share * fixed_usd(plan)
    monthly = plan.drift * plan.error_cost_usd * plan.requests_per_day * DAYS_PER_MONTH
    table = pd.DataFrame({"labels_usd": once / months, "drift_usd": monthly * months / 2})
    table.index = pd.Index(months, name="months")
    best = (2 * once / monthly) ** 0.5 if monthly else float("inf")
    return table.assign(usd=table.sum(axis=1)), best


def cumulative_cost(plan, *, months=24):
    """Return what has been spent by the end of each day, with the teacher and with the student.

    Parameters
    ----------
    plan : Distillation
    months : float
        How far to look.

    Returns
    -------
    DataFrame
        Indexed by day from 0, the day before the first: teacher_usd, student_usd and balance_usd (teacher less
        student: what has been saved so far), each with _low and _high over the corners of the given ranges. Errors
        are included. The first labels and training are paid on day 0, later ones on the first day on which they serve,
        and growth compounds daily.
    """
    corners = [_run(corner, months) for corner in plan.corners()]
    columns = {}
    for name, middle in _run(plan.point(), months).items():
        ends = [corner[name] for corner in corners]
        columns |= {
            name: middle,
            f"{name}_low": np.min(ends, axis=0),
            f"{name}_high": np.max(ends, axis=0),
        }
    return pd.DataFrame(columns).rename_axis("day")


def _run(plan, months):
    """Return the money spent by the end of each day, for one plan without ranges."""
    day = np.arange(round(months * DAYS_PER_MONTH))
    requests = plan.requests_per_day * (1 + plan.monthly_growth) ** (day / DAYS_PER_MONTH)
    since, trained = day, np.zeros(len(day))
    if plan.relabel_months is not None:
        period = plan.relabel_months * DAYS_PER_MONTH
        since = day % period
        trained[1:] = np.diff(np.floor(day / period))
    teacher = requests * (plan.teacher_usd + plan.teacher_error * plan.error_cost_usd)
    student = teacher - requests * saving_usd(plan, since / DAYS_PER_MONTH)
    student = student + trained * plan.relabel_share * fixed_usd(plan)
    teacher, student = np.append(0, np.cumsum(teacher)), np.append(0, np.cumsum(student))
    student = fixed_usd(plan) + student
    return {"teacher_usd": teacher, "student_usd": student, "balance_usd": teacher - student}


def break_even(plan, *, start, months=60):
    """Say when a distillation has paid for itself, with the range that its inputs leave.

    Parameters
    ----------
    plan : Distillation
    start : str
        ISO date of the first day on which the student answers.
    months : float
        How far to look.

    Returns
    -------
    DataFrame
        Rows fixed_usd, saving_usd (per request, right after training), days and on (the date); columns value, low and
        high. Days count up to the day from which the balance stays at or above zero for the whole period, so that no
        later training undoes it. If there is no such day, they are infinite and the date is missing.
    """
    measures = {
        "fixed_usd": fixed_usd,
        "saving_usd": saving_usd,
        "days": lambda each: _days(_run(each, months)["balance_usd"]),
    }
    table = {}
    for name, measure in measures.items():
        ends = [measure(corner) for corner in plan.corners()]
        table[name] = [measure(plan.point()), min(ends), max(ends)]
    table = pd.DataFrame(table, index=["value", "low", "high"]).T.astype(object)
    # Day 1 is the first day; a plan that has paid before it begins has paid on that day.
    days = table.loc["days"].astype(float).clip(lower=1) - 1
    table.loc["on"] = iso_day(start) + pd.to_timedelta(days.replace(np.inf, np.nan), unit="D")
    return table


def told(found):
    """Write the table of `break_even` for readers, with the saving per 1,000 requests.

    Parameters
    ----------
    found : DataFrame
        From `break_even`.

    Returns
    -------
    DataFrame
        A first column of words, then middle, low and high; "never" where a day does not come.
    """
    rows = found.drop(index="on").astype(float)
    rows.loc["saving_usd"] *= 1000
    rows = rows.astype(object).where(np.isfinite(rows), "never")
    rows = rows.rename(index=_ROWS)
    days = found.loc["on"]
    rows.loc["on the day"] = ["never" if pd.isna(day) else f"{day:%Y-%m-%d}" for day in days]
    return rows.rename(columns={"value": "middle"}).rename_axis("").reset_index()


def _days(balance):
    """Return the day from which a balance stays at or above zero; infinite if it ends below."""
    after = np.flatnonzero(balance < 0).max(initial=-1) + 1
    return float(after) if after < len(balance) else float("inf")


def who_offers(as_of: str, path: str | Path = DATA / "fine_tuning.csv") -> pd.DataFrame:
    """Return who lets you tune which models on a day, as far as it was known then.

    Parameters
    ----------
    as_of : str
        ISO date.
    path : path
        A table like data/fine_tuning.csv.

    Returns
    -------
    DataFrame
        provider, platform, models, offered ("yes", "no", or "ending" if an end had been announced by then),
        offered_from, closed_to_new_on (since when only earlier users may start), ends_on, how, note, source, checked_on.
        An offer without a beginning is taken to have begun before `as_of`. An offer that ended before 2026 on an unknown
        day says "no" on every day.
    """
    dates = ["offered_from", "closed_to_new_on", "announced_on", "ends_on"]
    table = pd.read_csv(
        path, parse_dates=dates, keep_default_na=False, na_values={name: [""] for name in dates}
    )
    day = iso_day(as_of)
    over = table["offered"].eq("no") | table["ends_on"].le(day) | table["offered_from"].gt(day)
    ending = table["ends_on"].notna() & ~table["announced_on"].gt(day)
    table["offered"] = np.select([over, ending], ["no", "ending"], "yes")
    for name in ("closed_to_new_on", "ends_on"):
        table[name] = table[name].where(~table["announced_on"].gt(day))
    said = ["provider", "platform", "models", "offered", "offered_from"]
    return table[[*said, "closed_to_new_on", "ends_on", "how", "note", "source", "checked_on"]]


def tunable_models(as_of):
    """Return the models that somebody may tune on a day, by `who_offers`.

    Parameters
    ----------
    as_of : str
        ISO date.

    Returns
    -------
    set of str
        Model ids.
    """
    offers = who_offers(as_of)
    return set(", ".join(offers.loc[offers["offered"] != "no", "models"]).split(", "))
