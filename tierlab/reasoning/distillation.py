"""Fine-tuning and distillation as an investment: what it costs once, what it saves per request, when it has paid, who offers it."""

from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from tierlab.core.paths import DATA
from tierlab.scaling.costs import DAYS_PER_MONTH

_SHARES = ("teacher_error", "student_error", "drift", "relabel_share")
_ABOVE = {"monthly_growth": -1, "relabel_months": 0}  # that the number cannot be


_ROWS = {
    "fixed_usd": "once, before the first request (USD)",
    "saving_usd": "saved per 1,000 requests (USD)",
    "days": "days until it has paid",
}


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A small model (the student) that takes over from a large one (the teacher) whose answers it was trained on.

    Any number may be a (low, high) pair: a range that is not known better, and becomes a band of the result.

    Attributes
    ----------
    requests_per_day : float
    teacher_usd, student_usd : float
        USD per request; of a student on a machine of your own, its machine time, idle hours too if it has one to itself.
    labels : float
        Examples that the teacher labels.
    label_usd : float
        USD per label, the teacher's price and any check of it.
    curation_hours, hour_usd : float
        Hours of people to choose, check and maintain the examples, and USD per hour.
    training_usd : float
        USD per training run, hosting set-up included.
    teacher_error, student_error : float
        Share 0-1 of requests answered wrongly, the student's right after training.
    error_cost_usd : float
        USD per wrong answer.
    drift : float
        How much the student's error grows per month since its last training (share 0-1): traffic changes, it does not.
    relabel_months : float, optional
        Months after which the student is trained on new labels, which sets its error back; None never does.
    relabel_share : float
        What that costs, as a share 0-1 of the first time.
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
            least, most = _ABOVE.get(name, 0), 1 if name in _SHARES else np.inf
            short = low <= least if name in _ABOVE else low < least
            if short or not (low <= high <= most and np.isfinite(high)):
                bound = (
                    "from 0 to 1"
                    if most == 1
                    else f"above {least}"
                    if name in _ABOVE
                    else "from 0 up"
                )
                raise ValueError(
                    f"{name}={getattr(self, name)!r}; allowed: a number {bound}, or a (low, high) pair"
                )

    def ranges(self):
        """(low, high) of every number, equal ends for a point."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        ends = {
            name: np.atleast_1d(np.asarray(value, float))
            for name, value in given.items()
            if value is not None
        }
        return {name: (float(value[0]), float(value[-1])) for name, value in ends.items()}

    def point(self):
        """The same plan with every range at its middle."""
        return replace(
            self, **{name: (low + high) / 2 for name, (low, high) in self.ranges().items()}
        )

    def corners(self):
        """Plans at every combination of the ends of the ranges; just the plan itself without ranges."""
        ends = {
            name: dict.fromkeys(pair) for name, pair in self.ranges().items()
        }  # equal ends are one
        return [
            replace(self, **dict(zip(ends, corner, strict=True)))
            for corner in product(*ends.values())
        ]


def fixed_usd(plan):
    """What the first student costs before it answers a request (USD): labels, people, training."""
    plan = plan.point()
    return plan.labels * plan.label_usd + plan.curation_hours * plan.hour_usd + plan.training_usd


def saving_usd(plan, months=0.0):
    """What one request saves with the student, errors included (USD); negative where its errors cost more.

    Parameters
    ----------
    plan : Distillation
    months : array_like of float
        Since the last training.

    Notes
    -----
    (c_teacher + e_teacher C) - (c_student + e_student C), with e_student + drift x months, at most 1.
    """
    plan = plan.point()
    error = np.minimum(plan.student_error + plan.drift * np.asarray(months, float), 1)
    saving = (
        plan.teacher_usd - plan.student_usd - (error - plan.teacher_error) * plan.error_cost_usd
    )
    return saving if saving.ndim else float(saving)


def relabelling(plan, months):
    """What a student costs per month beyond its price when new labels come every so many months.

    Parameters
    ----------
    plan : Distillation
    months : array_like of float
        Between two trainings, above 0.

    Returns
    -------
    (DataFrame, float)
        By months: labels_usd (labels and trainings, USD per month), drift_usd (errors since the last training), usd (their
        sum); and the number of months for which the sum is least, infinite where drift costs nothing.

    Notes
    -----
    Labels cost relabel / d and drift drift x C x requests x d / 2 a month: least where both are equal, at
    d = sqrt(2 relabel / (drift x C x requests)), the square-root formula of Harris (1913).

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
    """What has been spent by the end of each day, with the teacher and with the student.

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
        cost money here, the first labels and training are paid on day 0, later ones on the first day that they serve,
        and growth compounds daily.
    """
    middle, *ends = (pd.DataFrame(_run(each, months)) for each in (plan.point(), *plan.corners()))
    columns = {}
    for name in middle:
        low, high = (
            np.min([end[name] for end in ends], axis=0),
            np.max([end[name] for end in ends], axis=0),
        )
        columns |= {name: middle[name], f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(columns).rename_axis("day")


def _run(plan, months):
    """Money spent by the end of each day of one plan without ranges."""
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
    """When a distillation has paid for itself, with the range that its inputs leave.

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
        value, low, high of fixed_usd, saving_usd (per request, fresh from training), days and on (the date). Days are
        counted to the day after which the balance stays at or above zero as far as one looks, so that a later training
        cannot undo it; they are infinite, and the date is missing, where that does not come.
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
    # Day 1 is the first day; what has paid before it begins has paid on it.
    days = table.loc["days"].astype(float).clip(lower=1) - 1
    table.loc["on"] = pd.Timestamp(start) + pd.to_timedelta(days.replace(np.inf, np.nan), unit="D")
    return table


def told(found):
    """Rows of `break_even` ready to read: a first column of words, then middle, low and high; "never" for what is not.

    The saving is for 1,000 requests.
    """
    rows = found.drop(index="on").astype(float)
    rows.loc["saving_usd"] *= 1000
    rows = rows.astype(object).where(np.isfinite(rows), "never")
    rows = rows.rename(index=_ROWS)
    days = found.loc["on"]
    rows.loc["on the day"] = ["never" if pd.isna(day) else f"{day:%Y-%m-%d}" for day in days]
    return rows.rename(columns={"value": "middle"}).rename_axis("").reset_index()


def _days(balance):
    """Day from which a balance stays at or above zero; infinite if it ends below."""
    after = np.flatnonzero(balance < 0).max(initial=-1) + 1
    return float(after) if after < len(balance) else float("inf")


def who_offers(as_of: str, path: str | Path = DATA / "fine_tuning.csv") -> pd.DataFrame:
    """Who lets you tune which models on a day, as far as it was known then.

    Parameters
    ----------
    as_of : str
        ISO date.
    path : path

    Returns
    -------
    DataFrame
        provider, platform, models, offered ("yes"; "ending", with an end that was announced by then; "no"), offered_from,
        closed_to_new_on (since when only earlier users may start), ends_on, how, note, source, checked_on. A row
        without a beginning is taken to have begun before `as_of`; one that was over before 2026, without a day for its
        end, says "no" on every day.
    """
    dates = ["offered_from", "closed_to_new_on", "announced_on", "ends_on"]
    table = pd.read_csv(
        path, parse_dates=dates, keep_default_na=False, na_values={name: [""] for name in dates}
    )
    day = pd.Timestamp(as_of)
    over = table["offered"].eq("no") | table["ends_on"].le(day) | table["offered_from"].gt(day)
    ending = table["ends_on"].notna() & ~table["announced_on"].gt(day)
    table["offered"] = np.select([over, ending], ["no", "ending"], "yes")
    for name in ("closed_to_new_on", "ends_on"):
        table[name] = table[name].where(~table["announced_on"].gt(day))
    said = ["provider", "platform", "models", "offered", "offered_from"]
    return table[[*said, "closed_to_new_on", "ends_on", "how", "note", "source", "checked_on"]]
