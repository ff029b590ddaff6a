"""The article's claims (notebook 10)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "claims",
        "control",
        "faq",
        "figures",
        "rules",
    ),
)
