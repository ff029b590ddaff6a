"""tierlab: decide between flagship, mid-tier and small models with numbers you can defend.

Three tables and functions between them: prices, requests, outcomes. Names are loaded when first used,
so that ``import tierlab`` stays fast and pulls in no plotting, widget or provider code.
"""

from importlib import import_module

__version__ = "0.1.0"

_ROOM_OF = {
    name: room
    for room, names in {
        "buckets": ("split_input",),
        "catalog": ("BUCKETS", "TIERS", "Prices", "load_prices"),
        "claims": ("evaluate_claims",),
        "comparison": ("compare",),
        "cube": ("build_cube",),
        "decision": ("expected_cost", "indifference", "load_tasks"),
        "examples": ("load_examples", "load_intents"),
        "evaluation": ("bootstrap", "paired_power", "paired_sample_size", "wilson_interval"),
        "frontier": ("cost_quality_curve", "curve_band", "hull", "tier_frontier"),
        "gold": ("export_gold",),
        "judged": ("judge", "prefer"),
        "latency": ("latency_percentiles", "mean_seconds", "seconds_per_request", "simulate_latency"),
        "live": ("LiveRouter",),
        "metrics": ("aiq", "apgr", "cpt", "metric_intervals", "routerarena_score"),
        "outcomes": ("as_tiers", "check_outcomes", "load_outcomes", "outcome_account", "price_outcomes", "simulate_outcomes"),
        "planning": ("achievable_margin", "interval_half_width", "noninferiority_power", "required_examples"),
        "pricing": ("price", "reprice"),
        "quarter": ("Quarter", "analyse", "headline", "summary"),
        "reasoning": ("billed_output", "effort_costs", "thinking_break_even"),
        "recommendation": ("recommend",),
        "record": ("file_record", "load_record"),
        "reviewing": ("review",),
        "routing": ("route",),
        "samples": ("as_outcomes", "load_samples"),
        "sampling": ("sample",),
        "scaling": (
            *("batch_break_even", "cache_break_even", "cliff_break_even", "error_cost_break_even"),
            *("cost_calendar", "cost_curve", "crossovers", "daily_cost"),
        ),
        "scoring": ("score_example",),
        "sequential": ("sequential_test",),
        "slo": ("mix_attainment", "slo_attainment"),
        "speeds": ("load_speeds", "speed_ratio"),
        "synthetic": ("synthetic_quarters",),
        "tuning": ("Distillation", "who_offers"),
        "usage": ("Usage", "read_usage"),
        "verdict": ("compare_policies",),
        "waiting": ("second_break_even", "turn_value"),
        "workload": ("Workload", "cache_hits", "load_requests", "with_cache"),
    }.items()
    for name in names
}
_ROOMS = {
    *("batches", "buckets", "catalog", "claims", "comparison", "cube", "datasets", "decision", "evaluation", "examples"),
    *(
        "frontier",
        "gold",
        "judged",
        "judging",
        "latency",
        "live",
        "local",
        "metrics",
        "outcomes",
        "paths",
        "planning",
        "plots",
        "policies",
    ),
    *(
        "pricing",
        "providers",
        "quarter",
        "reasoning",
        "recommendation",
        "record",
        "report",
        "routing",
        "samples",
        "sampling",
        "scaling",
        "scoring",
        "sequential",
        "slo",
        "speeds",
        "stepwise",
    ),
    *("limits", "tokenizers", "windows"),
    *("embeddings", "faq", "student"),
    *("synthetic", "text_router", "tuning", "usage", "verdict", "waiting", "widgets", "workload", "workshop"),
}

__all__ = sorted([*_ROOM_OF, *_ROOMS])


def __getattr__(name):
    if name in _ROOM_OF:
        return getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
