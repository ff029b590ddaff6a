"""Policies, their curves and their verdict (notebook 04)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "control",
        "curve",
        "figures",
        "outcomes",
        "payback",
        "policies",
        "report",
        "route",
        "sessions",
        "simulated",
        "sources",
        "text_router",
        "verdict",
    ),
)
