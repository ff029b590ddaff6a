"""Scores, intervals and comparisons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "compare",
        "intervals",
        "planning",
        "rows",
        "scorers",
        "scoring",
        "verdict",
    ),
)
