"""One module for each provider's API."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "anthropic",
        "google",
        "openai",
        "replay",
    ),
)
