"""Effort and distillation (notebook 07)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "control",
        "distillation",
        "effort",
        "figures",
        "student",
    ),
)
