"""Effort and distillation (notebooks 08 and 09)."""

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
