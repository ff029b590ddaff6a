"""The quarterly report (notebook 90)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "aggregate",
        "ahead",
        "analyse",
        "arrival",
        "engine",
        "figures",
        "inputs",
        "outlook",
        "page",
        "report",
        "savings",
        "simulated",
        "variance",
        "words",
    ),
)
