"""Figures: one function each, from a tidy table to matplotlib axes; and how they are shown and saved.

Tier is always colour and marker and line style; providers stand in panels or under their own heading. No figure has
a title: `show` puts the caption below and the alt text on the image.
"""

from tierlab.plots.claims import VERDICT_GREYS, verdicts
from tierlab.plots.decision import EXPECTED_PARTS, expected_costs, indifference_map
from tierlab.plots.distillation import effort_times, investment, learning_curve, reasoning_multiple, thinking_map
from tierlab.plots.frontier import policies, routing_curve, saving_map
from tierlab.plots.limits import bucket_curve, minute_usage, token_ratios, window_fit
from tierlab.plots.prices import COST_PARTS, cost_bars, cost_by_bucket, lineup, price_changes
from tierlab.plots.quarter import forecast_fan, savings_bars, spend_days, tier_months, unit_costs, waterfall
from tierlab.plots.samples import differences, pass_rates, power_curves, task_scores
from tierlab.plots.scaling import OVER_LABELS, break_even, cache_hit_curve, calendar, cost_curve, trace_lengths
from tierlab.plots.showing import save, show, use_style
from tierlab.plots.speed import percentiles, request_seconds, second_value, slo_mix, speed_ranges
from tierlab.style import in_order, usd

__all__ = [
    "COST_PARTS",
    "EXPECTED_PARTS",
    "OVER_LABELS",
    "VERDICT_GREYS",
    "break_even",
    "bucket_curve",
    "cache_hit_curve",
    "calendar",
    "cost_bars",
    "cost_by_bucket",
    "cost_curve",
    "differences",
    "effort_times",
    "expected_costs",
    "forecast_fan",
    "in_order",
    "indifference_map",
    "investment",
    "learning_curve",
    "lineup",
    "minute_usage",
    "pass_rates",
    "percentiles",
    "policies",
    "power_curves",
    "price_changes",
    "reasoning_multiple",
    "request_seconds",
    "routing_curve",
    "save",
    "saving_map",
    "savings_bars",
    "second_value",
    "show",
    "slo_mix",
    "speed_ranges",
    "spend_days",
    "task_scores",
    "thinking_map",
    "tier_months",
    "token_ratios",
    "trace_lengths",
    "unit_costs",
    "usd",
    "use_style",
    "verdicts",
    "waterfall",
    "window_fit",
]
