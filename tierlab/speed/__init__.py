"""Latency, limits, windows and tokenizers (notebook 06)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "control",
        "figures",
        "latency",
        "limits",
        "speeds",
        "tokenizers",
        "windows",
    ),
)
