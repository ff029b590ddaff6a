"""The quarterly report (notebook 90)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "aggregate",
        "analyse",
        "arrival",
        "engine",
        "figures",
        "outlook",
        "report",
        "savings",
        "simulated",
        "variance",
        "words",
    ),
)
