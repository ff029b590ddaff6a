"""Real models on your own examples (notebook 05)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "apis",
        "cases",
        "control",
        "examples",
        "figures",
        "gold",
        "live",
        "local",
        "providers",
        "run",
        "runner",
        "samples",
        "store",
        "until",
    ),
)
