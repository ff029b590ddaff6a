"""The control of live sampling."""

import ipywidgets
import pandas as pd

import tierlab as tl
from tierlab.core.explorer import ALL, WIDE, Explorer, choice
from tierlab.core.format import usd
from tierlab.sampling import figures


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

    def __init__(
        self, samples, *, reference, margin=0.1, error_cost_usd=0.01, truncated="set_aside"
    ):
        self.samples, self.reference, self.truncated = samples, reference, truncated
        self._tiers = tl.as_tiers(samples).drop_duplicates("model_id").set_index("model_id")["tier"]
        self._prepared = {}  # what a task's answers say depends on no other control
        dollars = sorted(
            {
                0.0,
                error_cost_usd,
                *(factor / 10**power for power in range(-1, 5) for factor in (1, 2, 5)),
            }
        )
        super().__init__(
            task=choice("task", [ALL, *sorted(samples["task"].dropna().unique())]),
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

    def table(self, *, task, margin, error_usd):
        if task not in self._prepared:
            rows = self.samples if task == ALL else self.samples[self.samples["task"] == task]
            self._prepared[task] = tl.evaluate.compare.prepare(
                rows, reference=self.reference, truncated=self.truncated
            )
        self.found = self._prepared[task].at(margin, error_cost_usd=error_usd)
        return self.found.pairs.assign(tier=self._tiers)

    def draw(self, ax, table, *, margin, **_):
        figures.differences(table, margin=margin, reference=self.reference, ax=ax)

    def words(self, table, *, task, **_):
        where = "On all tasks" if task == ALL else f"On {task.replace('_', ' ')}"
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
