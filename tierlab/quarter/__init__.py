"""The quarterly report (notebook 90)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "aggregate",
        "analyse",
        "arrival",
        "brief",
        "engine",
        "figures",
        "outlook",
        "report",
        "savings",
        "settings",
        "simulated",
        "variance",
        "words",
    ),
)
