"""Scores, intervals and comparisons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "by_model",
        "compare",
        "intervals",
        "planning",
        "rows",
        "scorers",
        "scoring",
        "sequential",
        "verdict",
    ),
)
