"""Milliseconds that each control takes to redraw after one move, at its default sizes; the aim is 150.

A move is what a person does with one slider or list. The floor beside it is an empty figure of the same size drawn and
saved the same way: what no control can be quicker than. Run with `make bench`.
"""

import statistics
import time

import ipywidgets

import tierlab as tl
from tierlab.article import control as article_control
from tierlab.core import explorer as core_explorer
from tierlab.decide import control as decide_control
from tierlab.prices import control as prices_control
from tierlab.routing import control as routing_control
from tierlab.sampling import control as sampling_control
from tierlab.scaling import control as scaling_control

MOVES = 10


def controls():
    """Each control of the notebooks, as they start it."""
    article, maintained = tl.load_prices("article"), tl.load_prices("maintained")
    yield scaling_control.TierExplorer(article)
    yield prices_control.CostExplorer({"article": article, "maintained": maintained})
    yield scaling_control.CurveExplorer(article)
    checklist = decide_control.DecisionChecklist(maintained)
    for tier in tl.TIERS:
        checklist.controls[
            f"{tier}_examples"
        ].value = 80  # wrong answers of no examples are a mistake
    yield checklist
    outcomes = tl.simulate_outcomes(2_000, seed=0, prices=article)
    score = outcomes.drop_duplicates("prompt_id").set_index("prompt_id")["router_signal"]
    tiers = outcomes.drop_duplicates("tier").set_index("tier")["model_id"]
    yield routing_control.RouterExplorer(
        outcomes, score, weak=tiers["small"], strong=tiers["flagship"]
    )
    yield routing_control.ConversationExplorer(
        tl.load_prices("maintained", as_of="2026-06-12"),
        tl.load_product().conversation,
        small=tiers["small"],
        flagship=tiers["flagship"],
    )
    yield sampling_control.SampleExplorer(tl.sampling.cases.read_cases("kit"))
    yield tl.speed.control.LatencyExplorer(article)
    limits = tl.speed.limits.load_rate_limits()
    tiers = maintained.in_force().drop_duplicates("model_id").set_index("model_id")["tier"]
    yield tl.speed.control.LimitExplorer(limits.assign(tier=limits["model_id"].map(tiers)))
    yield tl.reasoning.control.DistillationExplorer(article)
    yield article_control.ClaimExplorer(tl.evaluate_claims())


def positions(control):
    """Two values to move between."""
    if isinstance(control, ipywidgets.widget_selection._MultipleSelection):
        names = list(control.options)
        return names[:2], names[:3]
    if isinstance(control, ipywidgets.widget_selection._Selection):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        at = control.index or 0
        return values[at - 1 if at else min(1, len(values) - 1)], values[at]
    if hasattr(control, "step"):
        up = control.value + control.step
        return (up if up <= control.max else control.value - control.step), control.value
    return None


def milliseconds(explorer, name, pair):
    times = []
    for move in range(MOVES):
        start = time.perf_counter()
        explorer.controls[name].value = pair[move % 2]
        times.append(1_000 * (time.perf_counter() - start))
        if 'role="alert"' in explorer.text.value:
            raise RuntimeError(f"{type(explorer).__name__}, {name}: {explorer.summary}")
    return statistics.median(times)


class Empty(core_explorer.Explorer):
    """A figure with nothing in it."""

    def table(self, **_):
        return tl.load_tasks().head(1)

    def draw(self, ax, table, **_):
        pass

    def words(self, table, **_):
        return ""

    def numbers(self, table, **_):
        return table.head(0)


def main():
    tl.use_style()
    empty = Empty(x=ipywidgets.IntSlider(value=1, description="x"))
    print(f"{'an empty figure':<22} {milliseconds(empty, 'x', (2, 1)):>5.0f} ms")
    for explorer in controls():
        worst = max(
            (milliseconds(explorer, name, pair), name)
            for name, control in explorer.controls.items()
            if (pair := positions(control))
        )
        print(f"{type(explorer).__name__:<22} {worst[0]:>5.0f} ms, slowest control: {worst[1]}")


if __name__ == "__main__":
    main()
