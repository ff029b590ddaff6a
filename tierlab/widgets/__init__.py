"""Controls: sliders on the figures of `tierlab.plots`.

An Explorer computes a table from its controls' values, draws it with a function of `plots` and shows the numbers
beside it. It redraws into value widgets (Image, HTML), which notebooks can store and nbval can compare. Nothing in
a notebook may depend on a control's value.
"""

from tierlab.widgets.claims import ClaimExplorer
from tierlab.widgets.costs import CostExplorer, CurveExplorer, TierExplorer
from tierlab.widgets.decision import DecisionChecklist, TaskExplorer
from tierlab.widgets.distillation import DistillationExplorer
from tierlab.widgets.explorer import Explorer
from tierlab.widgets.routing import RouterExplorer
from tierlab.widgets.samples import SampleExplorer
from tierlab.widgets.speed import LatencyExplorer

__all__ = [
    "ClaimExplorer",
    "CostExplorer",
    "CurveExplorer",
    "DecisionChecklist",
    "DistillationExplorer",
    "Explorer",
    "LatencyExplorer",
    "RouterExplorer",
    "SampleExplorer",
    "TaskExplorer",
    "TierExplorer",
]
