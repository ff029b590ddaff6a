"""What a token costs (notebook 01)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "catalog",
        "contract",
        "control",
        "daily",
        "figures",
        "maintained",
        "names",
        "offers",
        "pricing",
        "table",
    ),
)
