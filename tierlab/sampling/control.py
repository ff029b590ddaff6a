"""The control of notebook 05: each model against a reference."""

import ipywidgets
import pandas as pd

import tierlab as tl
from tierlab.core.explorer import WIDE, Explorer, choice
from tierlab.core.format import usd
from tierlab.core.vocabulary import task_name
from tierlab.sampling import figures


class SampleExplorer(Explorer):
    """Each model against a reference, for the answers or the task, the margin and the cost of an error that you choose.

    Parameters
    ----------
    cases : list of Case
        From `tierlab.sampling.cases.read_cases`.
    margin : float
        First value of the slider: how much worse is still good enough, 0-1.
    error_cost_usd : float
        First value of the slider: what a wrong answer costs, USD.
    """

    size, margins = (7.2, 2.6), (2.3, 0.9, 0.65, 0.1)

    def __init__(self, cases, *, margin=0.1, error_cost_usd=0.01):
        self._asked, self._prepared = {}, {}
        for case in cases:
            self._asked[case.name], self._prepared[case.name] = (case, None), case.compared
            tasks = case.answers["task"].unique()
            if len(tasks) > 1:
                self._asked |= {task_name(task): (case, task) for task in sorted(tasks)}
        dollars = sorted(
            {
                0.0,
                error_cost_usd,
                *(factor / 10**power for power in range(-1, 5) for factor in (1, 2, 5)),
            }
        )
        super().__init__(
            answers=choice("answers", list(self._asked)),
            margin=ipywidgets.FloatSlider(
                description="margin (share of the score)",
                value=margin,
                min=0.01,
                max=0.5,
                step=0.01,
                readout_format=".0%",
                continuous_update=False,
                **WIDE,
            ),
            error_usd=ipywidgets.SelectionSlider(
                description="error cost (USD)",
                options=[(usd(d), d) for d in dollars],
                value=error_cost_usd,
                continuous_update=False,
                **WIDE,
            ),
        )

    def table(self, *, answers, margin, error_usd):
        if answers not in self._prepared:  # the comparison of a task depends on no other control
            case, task = self._asked[answers]
            rows = case.answers[case.answers["task"] == task]
            self._prepared[answers] = tl.evaluate.compare.prepare(
                rows,
                reference=case.reference,
                truncated=case.truncated,
                seed=case.seed,
            )
        self.found = self._prepared[answers].at(margin, error_cost_usd=error_usd)
        return self.found.pairs

    def draw(self, ax, table, *, margin, **_):
        figures.differences(table, margin=margin, reference=self.found.reference, ax=ax)

    def words(self, table, *, answers, **_):
        return f"On {answers}: {self.found.verdict}"

    def numbers(self, table, **_):
        found = self.found
        rows = found.candidates.join(found.costs["expected"]).join(table[["difference", "finding"]])
        shown = pd.DataFrame(
            {
                "model": rows.index,
                "answers": rows["answers"],
                "score (%)": 100 * rows["score"],
                "difference (points)": 100 * rows["difference"],
                "with errors (USD per 1,000)": 1000 * rows["expected"],
                "finding": rows["finding"].fillna("reference"),
            }
        )
        return shown.reset_index(drop=True)
