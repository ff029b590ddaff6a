"""Latency, limits and windows (notebooks 06 and 07)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "control",
        "figures",
        "latency",
        "limits",
        "speeds",
    ),
)
