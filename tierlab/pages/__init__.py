"""Run a notebook and make its page."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "page",
        "parameters",
        "run",
    ),
)
